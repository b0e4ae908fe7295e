"""Authentication and rate limits: turns an Authorization header into a caller within its limit, or refuses it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.domain.api_key import API_KEY_PREFIX, parse_api_key
from app.domain.errors import RateLimitedError, UnauthenticatedError
from app.domain.identity import ApiKeyIdentity, Identity, JwtIdentity
from app.domain.policy import Caller, Policy
from app.domain.rate_limit import RateLimit, TokenBucket
from app.domain.refusal_reason import RefusalReason
from app.ports import CallerVerifier, Clock
from app.process.fair_memory import FairMemory
from app.service.reload import PolicyInForce

MAX_AUTHORIZATION_BYTES = 16 * 1024
REMEMBER_JWT_SECONDS = 60.0
MAX_PROOFS = 20_000
"""The number of proofs that each memory keeps."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A proven identity and its caller, under one policy.

    Args:
        identity: The proven identity.
        caller: The caller with this identity under `policy`.
        policy: The policy in force at the decision; another policy needs another decision.
        until: Unix time in seconds at which the proof must be verified again.
        api_key_sha256: The SHA-256 of the caller's API key in hex, or None if it has proven itself by a JWT.

    """

    identity: Identity
    caller: Caller
    policy: Policy
    until: float
    api_key_sha256: str | None = field(init=False)

    def __post_init__(self) -> None:
        # Made once, because the warm path reads it for every request.
        digest = self.identity.digest.hex() if isinstance(self.identity, ApiKeyIdentity) else None
        object.__setattr__(self, "api_key_sha256", digest)


class VerifiedCallers:
    """Remembers the proofs of callers by their SHA-256, never the secrets, and only for one version of the policy.

    Args:
        policy: The policy in force.
        limit: The number of proofs that are remembered. One caller has many: API keys can be sent with any number of
            spaces, and forms with any unknown parameter.

    """

    def __init__(self, policy: PolicyInForce, limit: int = MAX_PROOFS) -> None:
        self._policy = policy
        self._known = FairMemory[Caller, bytes, Admission](limit)
        self._known_under: Policy | None = None

    def recall(self, proof: bytes, now: float) -> Admission | None:
        """The caller that these very bytes proved under the policy in force; None if they must be verified."""
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
        self._known.keep(admission.caller, hashlib.sha256(proof).digest(), admission)


class CallerGate:
    """Authenticates callers and enforces their rate limits.

    Proofs are remembered in three memories, because the same bytes mean different things in different places: `headers`
    has whole Authorization headers, `forms` has whole forms, and `credentials` has bare credentials of forms.

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
            UnauthenticatedError: There is not exactly one header, or it proves nothing.
            ForbiddenError: A valid JWT that no caller entry matches.
            IdentityUnavailableError: The issuer's keys are unavailable.

        """
        headers = tuple(authorizations)
        if len(headers) != 1:
            raise UnauthenticatedError(RefusalReason.REPEATED if headers else RefusalReason.MISSING)
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
        # If the issuer changed during verification, the JWT may have been verified with its old keys.
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
        # It was proven under an older policy, so it must not be remembered for this one.
        return Admission(admission.identity, policy.caller(admission.identity), policy, until=0.0)

    def bucket(self, caller: Caller) -> TokenBucket | None:
        """The caller's rate limit on this replica, or None if it has none.

        A bucket is kept as long as the policy has its caller with the same limit. No request can evict it, and there
        are at most as many buckets as callers.
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
