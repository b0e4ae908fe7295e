"""What a refusal of IMS means, in a person's words (docs/ims.md sections 1.5, 1.6 and 3.5).

The table of Adobe's documentation and the texts IMS really sends differ, so status, ``error`` and ``error_description``
are matched loosely. The description only chooses among our own sentences; it is never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from app.domain.credential import RefusalHints
from app.domain.grant import Grant
from app.domain.tenant_errors import BadUpstreamResponseError, CredentialRejectedError

_UNUSUAL = re.compile(r"[^A-Za-z0-9_.-]")
_MAX_CODE = 64
_REVEALING_LENGTH = 8
"""So many characters of a secret in a row must not be shown; fewer would be found in any word."""

_CERTIFICATE = (
    "The private key does not belong to a certificate that is bound to this client at Adobe, or that certificate has "
    "expired: compare them, and add a new certificate or correct private_key."
)
_ASSERTION_EXPIRED = "The assertion had expired when IMS saw it: compare the broker's clock with a time server."
_ASSERTION = "IMS cannot accept the assertion: check org_id, technical_account_id and ims_base_url."
_SECRET = "The client secret is wrong or has been deleted: put a current one into client_secrets."
_CLIENT_OR_SECRET = "The client id and the client secret do not belong together: check client_id and client_secrets."
_UNKNOWN = "Compare the stored credential with the Adobe Developer Console."


def rejection(
    grant: Grant, status: int, payload: object, debug_id: str | None
) -> CredentialRejectedError | BadUpstreamResponseError:
    """The error for a 400, 401 or 403.

    Args:
        grant: The grant that was presented.
        status: 400, 401 or 403.
        payload: The decoded body.
        debug_id: IMS' ``X-Debug-Id``, cleaned.

    Returns:
        A `CredentialRejectedError`; or a `BadUpstreamResponseError` if the body is not an OAuth error.

    """
    error = payload.get("error") if isinstance(payload, Mapping) else None
    if not isinstance(payload, Mapping) or not isinstance(error, str) or not error.strip():
        return BadUpstreamResponseError(f"it is a {status} without an error code", debug_id)
    description = payload.get("error_description")
    text = description.lower() if isinstance(description, str) else ""
    return CredentialRejectedError(
        cleaned(error, grant.secrets) or "unknown",
        debug_id,
        hint=_hint(grant.credential.hints, status, error, text),
        secret_refused=error == "invalid_client",
    )


def cleaned(unverified: str | None, secrets: Iterable[str]) -> str | None:
    """The plain characters of an identifier of IMS, 64 at most; None if there are none, or a part of a secret."""
    if unverified is None:
        return None
    code = _UNUSUAL.sub("", unverified)
    return None if _repeats(code.lower(), secrets) else code[:_MAX_CODE] or None


def _repeats(identifier: str, secrets: Iterable[str]) -> bool:
    """Whether `identifier` has a part in common with a secret: it need not repeat it whole, nor in the same case."""
    # The identifier is short and the secrets are long, so its parts are looked up in them. A newline is in no part.
    searched = "\n".join(_UNUSUAL.sub("", secret).lower() for secret in secrets)
    parts = (identifier[at : at + _REVEALING_LENGTH] for at in range(len(identifier) - _REVEALING_LENGTH + 1))
    return any(part in searched for part in parts)


def _hint(hints: RefusalHints, status: int, error: str, description: str) -> str:
    if "binding" in description and "scope" not in description:
        return _CERTIFICATE
    match error:
        case "invalid_signature":
            return _CERTIFICATE
        case "invalid_token":
            return _ASSERTION_EXPIRED if "expired" in description else _ASSERTION
        case "bad_request" | "invalid_request":
            return hints.bad_request
        case "invalid_scope" | "invalid_target_scope":
            return hints.scope
        case "invalid_client":
            return _client_hint(hints, status, description)
        case "unauthorized_client" | "access_denied":
            return hints.not_allowed
        case _:
            return _UNKNOWN


def _client_hint(hints: RefusalHints, status: int, description: str) -> str:
    if "secret" in description:
        return _SECRET
    if "client_id" in description or (hints.unknown_client_is_400 and status == 400):
        return hints.unknown_client
    return _CLIENT_OR_SECRET
