"""The identity that a caller proved, and the issuers that can prove one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.domain.claim import Claim

JWT_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
"""The algorithms for signing callers' JWTs. None is symmetric: no public key can serve as a shared secret."""


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
        expires_at: Unix time in seconds after which this proves nothing: the ``exp`` claim, or earlier if an API server
            must confirm the token again.
        namespace: The Kubernetes namespace of a service account; None if the token does not prove one.
        claims: The claims that callers of the policy compare.

    """

    issuer: str
    subject: str
    expires_at: float
    namespace: str | None = None
    claims: frozenset[Claim] = frozenset()


Identity = ApiKeyIdentity | JwtIdentity
"""What a verifier proved. Only the JWT verifier makes a `JwtIdentity`, after it has checked the signature."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """A trusted issuer of callers' JWTs, from the policy.

    Args:
        issuer: Exact value of ``iss``.
        audiences: The accepted audiences: ``aud`` must be or contain one of them.
        jwks_url: The URL of its keys (https; plain http for loopback only), or None.
        jwks_file: A file with its keys, or None. Exactly one of the two is given.
        jwks_ca_file: CA bundle for `jwks_url`, or None for the system's.
        jwks_token_file: File with a Bearer token for reading `jwks_url`, or None.
        token_review_url: The URL at which a Kubernetes API server confirms that a verified token is still valid (https;
            plain http for loopback only). None: tokens are not reviewed.
        token_review_ca_file: CA bundle for `token_review_url`, or None for the system's.
        token_review_token_file: File with a Bearer token for `token_review_url`, or None.
        claims: The names of the claims that callers of the policy compare.

    """

    issuer: str
    audiences: tuple[str, ...]
    jwks_url: str | None = None
    jwks_file: str | None = None
    jwks_ca_file: str | None = None
    jwks_token_file: str | None = None
    token_review_url: str | None = None
    token_review_ca_file: str | None = None
    token_review_token_file: str | None = None
    claims: frozenset[str] = frozenset()
