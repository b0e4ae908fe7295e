"""Who is asking? From the Authorization header to a caller within its rate limit, or a constant refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from app.domain.api_key import API_KEY_PREFIX, parse_api_key
from app.domain.errors import RateLimitedError, UnauthenticatedError
from app.domain.identity import Identity, JwtIdentity, RateLimit
from app.domain.policy import Caller, Policy
from app.domain.rate_limit import TokenBucket
from app.ports import CallerVerifier, Clock
from app.service.reload import PolicyInForce

MAX_AUTHORIZATION_BYTES = 16 * 1024
REMEMBER_JWT_SECONDS = 60.0
MAX_REMEMBERED = 20_000


class Gate:
    """Authenticates callers and holds them to their limits.

    Args:
        policy: The policy in force.
        verifier: Verifies JWTs.
        clock: Unix time in seconds.

    """

    def __init__(self, policy: PolicyInForce, verifier: CallerVerifier, clock: Clock) -> None:
        self._policy = policy
        self._verifier = verifier
        self._clock = clock
        # Verified credentials by the hash of the header, never by the secret itself; for one policy version only.
        self._remembered: dict[bytes, tuple[Caller, float]] = {}
        self._remembered_for: Policy | None = None
        self._buckets: dict[tuple[str, RateLimit], TokenBucket] = {}

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy.current

    def recall(self, authorization: bytes, now: float) -> Caller | None:
        """The caller of a header verified before under the policy in force; None means: verify it."""
        if self._remembered_for is not self._policy.current:
            return None
        known = self._remembered.get(hashlib.sha256(authorization).digest())
        return known[0] if known is not None and now < known[1] else None

    async def authenticate(self, authorizations: Iterable[bytes]) -> Identity:
        """What the Authorization headers prove.

        Raises:
            UnauthenticatedError: Not exactly one header, or it proves nothing.
            IdentityUnavailableError: The issuer's keys cannot be had.

        """
        headers = tuple(authorizations)
        if len(headers) != 1:
            raise UnauthenticatedError
        return await self.identify(bearer_credential(headers[0]))

    async def identify(self, unverified: bytes) -> Identity:
        """What a bare credential proves: an API key or a JWT.

        Raises:
            UnauthenticatedError: Nothing.
            IdentityUnavailableError: The issuer's keys cannot be had.

        """
        if unverified.startswith(API_KEY_PREFIX):
            return parse_api_key(unverified)
        return await self._verifier.verify(unverified)

    def resolve(self, identity: Identity) -> Caller:
        """The caller of a proven identity under the policy in force.

        Raises:
            UnauthenticatedError: An API key that no caller has.
            ForbiddenError: A valid JWT that no caller entry matches.

        """
        return self._policy.current.caller(identity)

    def bucket(self, caller: Caller) -> TokenBucket | None:
        """The caller's rate limit on this replica, or None where it has none."""
        limit = caller.rate_limit
        if limit is None:
            return None
        bucket = self._buckets.get((caller.name, limit))
        if bucket is None:
            bucket = self._buckets[caller.name, limit] = TokenBucket(limit)
        return bucket

    def count(self, caller: Caller) -> None:
        """Count one request of `caller`.

        Raises:
            RateLimitedError: It is over its limit.

        """
        bucket = self.bucket(caller)
        wait = 0.0 if bucket is None else bucket.take(self._clock())
        if wait > 0:
            raise RateLimitedError(wait)

    def remember(self, authorization: bytes, identity: Identity, caller: Caller) -> None:
        """Let `recall` find `caller`, for the policy in force: API keys for ever, a JWT for at most a minute."""
        policy = self._policy.current
        if self._remembered_for is not policy or len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
            self._remembered_for = policy
        until = float("inf")
        if isinstance(identity, JwtIdentity):
            until = min(identity.expires_at, self._clock() + REMEMBER_JWT_SECONDS)
        self._remembered[hashlib.sha256(authorization).digest()] = (caller, until)


def bearer_credential(authorization: bytes) -> bytes:
    """The credential of a Bearer header (RFC 6750 section 2.1; the scheme's case does not matter).

    Raises:
        UnauthenticatedError: Another scheme, nothing behind it, or more than 16 KiB.

    """
    scheme, _, credential = authorization.partition(b" ")
    if scheme.lower() != b"bearer" or not credential or len(authorization) > MAX_AUTHORIZATION_BYTES:
        raise UnauthenticatedError
    return credential
