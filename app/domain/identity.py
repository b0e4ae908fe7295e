"""Who asks: what a caller proved, and the caller that the policy makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

JWT_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
"""All that callers' JWTs may be signed with. No symmetric one: a public key must never be read as a shared secret."""


@dataclass(frozen=True, slots=True)
class ApiKeyIdentity:
    """The bearer of an API key.

    Args:
        digest: SHA-256 of the whole key's bytes (32 bytes).

    """

    digest: bytes


@dataclass(frozen=True, slots=True)
class JwtIdentity:
    """The subject of a verified JWT of a configured issuer.

    Args:
        issuer: The ``iss`` claim, one of the policy's issuers.
        subject: The ``sub`` claim.
        expires_at: Unix time in seconds after which this proves nothing: the ``exp`` claim, or earlier where the
            issuer is to be asked again whether the token still holds.
        namespace: The Kubernetes namespace of a service account, where the token proves one.

    """

    issuer: str
    subject: str
    expires_at: float
    namespace: str | None = None


Identity = ApiKeyIdentity | JwtIdentity
"""What a verifier proved. Only verifiers make these."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `requests` in `seconds`, per replica."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Issuer:
    """A trusted issuer of callers' JWTs, from the policy.

    Args:
        issuer: Exact value of ``iss``.
        audience: Value that ``aud`` must be or contain.
        jwks_url: Where its keys are read (https; plain http for loopback only), or None.
        jwks_file: A file with its keys, or None. Exactly one of the two is given.
        jwks_ca_file: CA bundle for `jwks_url`, or None for the system's.
        jwks_token_file: File with a Bearer token for reading `jwks_url`, or None.
        token_review_url: Where a Kubernetes API server is asked whether a verified token still holds (https; plain
            http for loopback only), or None: nobody is asked.
        token_review_ca_file: CA bundle for `token_review_url`, or None for the system's.
        token_review_token_file: File with a Bearer token for `token_review_url`, or None.

    """

    issuer: str
    audience: str
    jwks_url: str | None = None
    jwks_file: str | None = None
    jwks_ca_file: str | None = None
    jwks_token_file: str | None = None
    token_review_url: str | None = None
    token_review_ca_file: str | None = None
    token_review_token_file: str | None = None
