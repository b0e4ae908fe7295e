"""The work of the broker: vend, refresh, purge and reload."""
