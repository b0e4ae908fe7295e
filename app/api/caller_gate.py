"""Authentication and rate limits: from the Authorization header to a caller within its limit, or a constant refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

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
"""How many proofs each memory keeps."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A proven identity and its caller, under one policy.

    Args:
        identity: What was proven.
        caller: The caller that `policy` makes of it.
        policy: The policy in force when it was decided; under another one it must be decided again.
        until: Unix time in seconds until which the proof need not be verified again.

    """

    identity: Identity
    caller: Caller
    policy: Policy
    until: float


class VerifiedCallers:
    """Remembers what proved a caller, by its SHA-256 and never by the secret itself, and for one policy version only.

    Args:
        policy: The policy in force.
        limit: How many proofs are remembered; the oldest is forgotten for a new one.

    """

    def __init__(self, policy: PolicyInForce, limit: int = MAX_REMEMBERED) -> None:
        self._policy = policy
        self._limit = limit
        self._known: dict[bytes, Admission] = {}
        self._known_under: Policy | None = None

    def recall(self, proof: bytes, now: float) -> Admission | None:
        """The caller that these very bytes proved under the policy in force; None means: verify them."""
        if self._known_under is not self._policy.current:
            return None
        known = self._known.get(hashlib.sha256(proof).digest())
        return known if known is not None and now < known.until else None

    def remember(self, proof: bytes, admission: Admission) -> None:
        """Let `recall` find `admission`, unless the policy has changed since it was decided."""
        if admission.policy is not self._policy.current:
            return
        if self._known_under is not admission.policy:
            self._known.clear()
            self._known_under = admission.policy
        digest = hashlib.sha256(proof).digest()
        self._known.pop(digest, None)  # So that it becomes the newest.
        if len(self._known) >= self._limit:
            del self._known[next(iter(self._known))]
        self._known[digest] = admission


class CallerGate:
    """Authenticates callers and holds them to their rate limits.

    What proved a caller is remembered in three memories, because the same bytes mean different things in each place:
    `headers` by the whole Authorization header, `forms` by a whole form, `credentials` by a bare credential of a form.

    Args:
        policy: The policy in force.
        verifier: Verifies JWTs.
        clock: Unix time in seconds.

    """

    def __init__(self, policy: PolicyInForce, verifier: CallerVerifier, clock: Clock) -> None:
        self._policy = policy
        self._verifier = verifier
        self._clock = clock
        self.headers = VerifiedCallers(policy)
        self.forms = VerifiedCallers(policy)
        self.credentials = VerifiedCallers(policy)
        self._buckets: dict[tuple[str, RateLimit], TokenBucket] = {}
        self._buckets_of: Policy | None = None

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy.current

    async def admit(self, authorizations: Iterable[bytes]) -> Admission:
        """The caller that the Authorization headers prove.

        Raises:
            UnauthenticatedError: Not exactly one header, or it proves nothing.
            ForbiddenError: A valid JWT that no caller entry matches.
            IdentityUnavailableError: The issuer's keys are unavailable.

        """
        headers = tuple(authorizations)
        if len(headers) != 1:
            raise UnauthenticatedError
        return await self._admit(self.headers, headers[0], bearer_credential(headers[0]))

    async def admit_credential(self, unverified: bytes) -> Admission:
        """The caller that a bare credential proves: an API key or a JWT.

        Raises:
            UnauthenticatedError: It proves nothing.
            ForbiddenError: A valid JWT that no caller entry matches.
            IdentityUnavailableError: The issuer's keys are unavailable.

        """
        return await self._admit(self.credentials, unverified, unverified)

    async def _admit(self, memory: VerifiedCallers, proof: bytes, credential: bytes) -> Admission:
        known = memory.recall(proof, self._clock())
        if known is not None:
            return known
        trusted = self._policy.current
        identity = await self._identify(credential)
        admission = self._admission(identity)
        # An issuer that changed while its JWT was verified may have been verified by the keys of before.
        if admission.policy is trusted:
            memory.remember(proof, admission)
        return admission

    async def _identify(self, unverified: bytes) -> Identity:
        if unverified.startswith(API_KEY_PREFIX):
            return parse_api_key(unverified)
        return await self._verifier.verify(unverified)

    def _admission(self, identity: Identity) -> Admission:
        policy = self._policy.current
        until = float("inf")
        if isinstance(identity, JwtIdentity):
            until = min(identity.expires_at, self._clock() + REMEMBER_JWT_SECONDS)
        return Admission(identity, policy.caller(identity), policy, until)

    def renewed(self, admission: Admission) -> Admission:
        """`admission` under the policy in force: the same object if the policy is the same.

        Raises:
            UnauthenticatedError: The policy in force has no caller with this API key.
            ForbiddenError: The policy in force has no caller for this JWT.

        """
        policy = self._policy.current
        if admission.policy is policy:
            return admission
        # Proven under an older policy, so it must not be remembered for this one.
        return Admission(admission.identity, policy.caller(admission.identity), policy, until=0.0)

    def bucket(self, caller: Caller) -> TokenBucket | None:
        """The caller's rate limit on this replica, or None if it has none.

        A bucket is kept for as long as the policy has its caller with the same limit: no request can make it go, and
        there are at most as many as the policy has callers.
        """
        limit = caller.rate_limit
        if limit is None:
            return None
        if self._buckets_of is not self._policy.current:
            self._drop_other_buckets(self._policy.current)
        bucket = self._buckets.get((caller.name, limit))
        if bucket is None:
            bucket = self._buckets[caller.name, limit] = TokenBucket(limit)
        return bucket

    def _drop_other_buckets(self, policy: Policy) -> None:
        limits = {(caller.name, caller.rate_limit) for caller in policy.callers}
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if key in limits}
        self._buckets_of = policy

    def count(self, caller: Caller) -> None:
        """Count one request of `caller`.

        Raises:
            RateLimitedError: It is over its limit.

        """
        bucket = self.bucket(caller)
        wait = 0.0 if bucket is None else bucket.take(self._clock())
        if wait > 0:
            raise RateLimitedError(wait)


def bearer_credential(authorization: bytes) -> bytes:
    """The credential of a Bearer header (RFC 6750 section 2.1; the scheme's case does not matter).

    Raises:
        UnauthenticatedError: Another scheme, nothing after it, or more than 16 KiB.

    """
    scheme, _, credential = authorization.partition(b" ")
    if scheme.lower() != b"bearer" or not credential or len(authorization) > MAX_AUTHORIZATION_BYTES:
        raise UnauthenticatedError
    return credential
