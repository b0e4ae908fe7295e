"""Files, threads, tasks and calls of this process. It does not know any external system."""
