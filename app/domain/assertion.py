"""The claims of the JWT that a service account signs (RFC 7523; docs/ims.md section 1.3)."""

from __future__ import annotations

from app.domain.credential import Credential
from app.domain.names import Scope

ASSERTION_LIFETIME = 300
"""Seconds. Adobe's own libraries use 180 to 300; more gains nothing, because each exchange signs a new one."""


def assertion_claims(credential: Credential, metascopes: tuple[Scope, ...], now: float) -> dict[str, object]:
    """The claims exactly as IMS requires them: one ``aud``, integer ``exp``, and one ``true`` claim per metascope.

    There is no ``iat``: IMS does not require it, and would refuse one from a clock that is slightly ahead of its own.
    """
    host = credential.ims_base_url
    return {
        "exp": int(now) + ASSERTION_LIFETIME,
        "iss": credential.ref.org,
        "sub": credential.technical_account_id,
        "aud": f"{host}/c/{credential.client_id}",
        **{f"{host}/s/{metascope}": True for metascope in metascopes},
    }
