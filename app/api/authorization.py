"""The Authorization header: its scheme and its credential."""

from __future__ import annotations

from app.domain.errors import UnauthenticatedError
from app.domain.refusal_reason import RefusalReason

MAX_AUTHORIZATION_BYTES = 16 * 1024


def scheme_and_credential(authorization: bytes) -> tuple[bytes, bytes]:
    """The parts of an Authorization header: the scheme in lower case, and what follows it.

    The value is trimmed (RFC 9110 section 5.5), and one or more spaces follow the scheme (section 11.4).
    """
    scheme, _, credential = authorization.strip(b" \t").partition(b" ")
    return scheme.lower(), credential.lstrip(b" ")


def bearer_credential(authorization: bytes) -> bytes:
    """The credential of a Bearer header (RFC 6750 section 2.1; the scheme is case-insensitive).

    Raises:
        UnauthenticatedError: The scheme is another, or the credential is empty or larger than 16 KiB.

    """
    if len(authorization) > MAX_AUTHORIZATION_BYTES:
        raise UnauthenticatedError(RefusalReason.MALFORMED)
    scheme, credential = scheme_and_credential(authorization)
    if scheme != b"bearer":
        raise UnauthenticatedError(RefusalReason.SCHEME if scheme else RefusalReason.MISSING)
    if not credential:
        raise UnauthenticatedError(RefusalReason.MISSING)
    return credential
