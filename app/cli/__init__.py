"""The command line: one module per command group; a command calls the same service as the API."""
