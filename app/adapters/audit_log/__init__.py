"""The audit log: one JSON line per decision, written outside of the request path, on request as a hash chain."""

from app.adapters.audit_log.log import FLUSH_SECONDS, MAX_WAITING_AUDIT_LINES, AuditLog

__all__ = ["FLUSH_SECONDS", "MAX_WAITING_AUDIT_LINES", "AuditLog"]
