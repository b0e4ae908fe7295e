"""What replicas share, whatever the backend: the key ring, sealed records and the names of keys."""
