"""What this process does for itself: files, threads, tasks and calls. It knows no outside system."""
