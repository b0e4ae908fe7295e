"""Readers of the audit log, for the command line: follow its files, verify its hash chain, trace a token.

The writer is `app.adapters.audit_log`; both share only the rules of the chain in `app.domain.audit_chain`.
"""
