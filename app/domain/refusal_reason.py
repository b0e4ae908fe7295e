"""Why a caller credential was refused: for audit, metrics and log, and never for the caller."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RefusalReason(StrEnum):
    """The bounded list of reasons; `docs/audit.md` explains each one to operators."""

    MISSING = "missing"
    REPEATED = "repeated"
    SCHEME = "scheme"
    MALFORMED = "malformed"
    HEADER = "header"
    ISSUER_UNKNOWN = "issuer_unknown"
    AUDIENCE = "audience"
    SUBJECT = "subject"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    LIFETIME = "lifetime"
    KEY_UNKNOWN = "key_unknown"
    SIGNATURE = "signature"
    REVIEW = "review"
    CALLER_UNKNOWN = "caller_unknown"
    CALLER_AMBIGUOUS = "caller_ambiguous"
    API_KEY_UNKNOWN = "api_key_unknown"
    API_KEY_EXPIRED = "api_key_expired"
    CLIENT_ID = "client_id"


@dataclass(frozen=True, slots=True)
class SignedFor:
    """What a JWT says of itself, if its signature is good. It may be refused all the same.

    Args:
        issuer: The ``iss`` claim, one of the policy's issuers.
        subject: The ``sub`` claim; printable.

    """

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class CallerRefused:
    """A caller credential was refused.

    Args:
        at: Unix time in seconds.
        endpoint: The route, such as ``/token``.
        reason: Why the credential was refused.
        issuer: The issuer of a JWT with a good signature, or None: anyone can write any other one.
        subject: The subject of a JWT with a good signature, or None.
        callers: The callers that the JWT matches if they are several, or None.

    """

    at: float
    endpoint: str
    reason: RefusalReason
    issuer: str | None = None
    subject: str | None = None
    callers: tuple[str, ...] | None = None
