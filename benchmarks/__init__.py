"""Performance claims: each module is a command that prints a ratio to a reference measured in the same run."""
