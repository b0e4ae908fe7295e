"""The broker's own certificate, followed while it is renewed."""

from app.adapters.server_certificate.renewal import ServerCertificate, server_context

__all__ = ["ServerCertificate", "server_context"]
