"""When a tenant's certificate ends. IMS then reports an invalid signature, so it is watched."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from app.domain.tenant_errors import CredentialMisconfiguredError


def certificate_not_after(pem: str) -> float:
    """The end of validity of a PEM certificate; of the first one, if there are several.

    Returns:
        Unix time in seconds.

    Raises:
        CredentialMisconfiguredError: `pem` is not an X.509 certificate; the field is ``certificate``.

    """
    try:
        return x509.load_pem_x509_certificate(pem.encode(errors="replace")).not_valid_after_utc.timestamp()
    except (ValueError, UnsupportedAlgorithm):
        raise CredentialMisconfiguredError("certificate", "must be an X.509 certificate in PEM form") from None
