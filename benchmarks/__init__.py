"""What is claimed about speed, each a command that prints a ratio to a reference measured in the same run."""
