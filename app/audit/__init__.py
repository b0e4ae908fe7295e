"""Readers of the audit log, for the command line: follow, verify and trace its lines."""
