"""The broker's own certificate, followed while it is renewed."""

from app.adapters.server_certificate.pair import ServerCertificateError, load_pair
from app.adapters.server_certificate.renewal import ServerCertificate

__all__ = ["ServerCertificate", "ServerCertificateError", "load_pair"]
