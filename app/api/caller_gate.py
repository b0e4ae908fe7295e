"""Authentication and rate limits: turns an Authorization header into a caller within its limit, or refuses it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.api.authorization import bearer_credential
from app.api.expired_jwts import ExpiredJwts
from app.api.failing_sources import REFUSALS_OF_A_SOURCE, FailingSources
from app.domain.api_key import API_KEY_PREFIX, parse_api_key
from app.domain.errors import RateLimitedError, UnauthenticatedError, UnknownCallerError
from app.domain.identity import ApiKeyIdentity, Identity, JwtIdentity
from app.domain.policy import Caller, Policy
from app.domain.rate_limit import Bucket, LimitScope, RateLimit, TokenBucket
from app.domain.refusal_reason import RefusalReason
from app.ports import CallerVerifier, Clock
from app.process.fair_memory import FairMemory
from app.service.fleet_limits import FleetLimits
from app.service.reload import PolicyInForce

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


def proof_of(sent: bytes) -> bytes:
    """What is remembered of bytes that prove a caller: their SHA-256."""
    return hashlib.sha256(sent).digest()


class VerifiedCallers:
    """Remembers callers by their proofs (see `proof_of`), never the secrets, and only for one version of the policy.

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
        """The caller that has this proof under the policy in force; None if its bytes must be verified."""
        if self._known_under is not self._policy.current:
            return None
        known = self._known.get(proof)
        return known if known is not None and now < known.until else None

    def remember(self, proof: bytes, admission: Admission) -> None:
        """Let `recall` find `admission`, unless the policy has changed since it was decided."""
        if admission.policy is not self._policy.current:
            return
        if self._known_under is not admission.policy:
            self._known.clear()
            self._known_under = admission.policy
        self._known.keep(admission.caller, proof, admission)


class CallerGate:
    """Authenticates callers and enforces their rate limits.

    Proofs are remembered in three memories, because the same bytes mean different things in different places: `headers`
    has whole Authorization headers, `forms` has whole forms, and `credentials` has bare credentials of forms.

    Args:
        policy: The policy in force.
        verifier: Verifies JWTs.
        clock: Unix time in seconds.
        fleet: The limits that all replicas share.
        workers: The number of processes of the replica: each has an equal part of each limit of the replica.

    """

    def __init__(
        self,
        policy: PolicyInForce,
        verifier: CallerVerifier,
        clock: Clock,
        fleet: FleetLimits,
        workers: int = 1,
    ) -> None:
        self._policy = policy
        self._verifier = verifier
        self._clock = clock
        self._fleet = fleet
        self.headers = VerifiedCallers(policy)
        self.forms = VerifiedCallers(policy)
        self.credentials = VerifiedCallers(policy)
        self._workers = workers
        self._failing = FailingSources(REFUSALS_OF_A_SOURCE.part(workers))
        self._proven_jwts = FairMemory[str, bytes, None](MAX_PROOFS)
        self._expired = ExpiredJwts()
        self._buckets: dict[tuple[str, RateLimit], TokenBucket] = {}
        self._buckets_of: Policy | None = None

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy.current

    async def admit(self, authorizations: Iterable[bytes], address: str = "") -> Admission:
        """The caller that the Authorization headers prove.

        Args:
            authorizations: The headers.
            address: The IP address that they came from.

        Raises:
            SourceLimitedError: Too many credentials from this address were refused.
            UnauthenticatedError: There is not exactly one header, or it proves nothing.
            ForbiddenError: A valid JWT that no caller entry matches.
            IdentityUnavailableError: The issuer's keys are unavailable.

        """
        headers = tuple(authorizations)
        known = self.recognise(headers, address, self._clock())
        if known is not None:
            return known
        return await self._verified(self.headers, proof_of(headers[0]), bearer_credential(headers[0]), address)

    def recognise(self, authorizations: tuple[bytes, ...], address: str, now: float) -> Admission | None:
        """The caller that the Authorization headers prove, without asking anyone; None if it is a JWT to be verified.

        Args:
            authorizations: The headers.
            address: The IP address that they came from.
            now: Unix time in seconds.

        Raises:
            SourceLimitedError: As of `admit`.
            UnauthenticatedError: As of `admit`.

        """
        if len(authorizations) != 1:
            raise UnauthenticatedError(RefusalReason.REPEATED if authorizations else RefusalReason.MISSING)
        proof = proof_of(authorizations[0])
        known = self.headers.recall(proof, now)
        return known or self._looked_at(self.headers, proof, bearer_credential(authorizations[0]), address, now)

    async def admit_credential(self, unverified: bytes, address: str = "") -> Admission:
        """The caller that a bare credential proves: an API key or a JWT. `address` as of `admit`.

        Raises:
            SourceLimitedError: Too many credentials from this address were refused.
            UnauthenticatedError: It proves nothing.
            ForbiddenError: A valid JWT that no caller entry matches.
            IdentityUnavailableError: The issuer's keys are unavailable.

        """
        proof, now = proof_of(unverified), self._clock()
        known = self.credentials.recall(proof, now) or self._looked_at(
            self.credentials, proof, unverified, address, now
        )
        return known or await self._verified(self.credentials, proof, unverified, address)

    def _looked_at(
        self, memory: VerifiedCallers, proof: bytes, credential: bytes, address: str, now: float
    ) -> Admission | None:
        """The caller, if its credential is an API key; None if it is a JWT that must be verified."""
        if credential.startswith(API_KEY_PREFIX):
            return self._of_api_key(memory, proof, credential, address, now)
        # Each policy is a new one, but a JWT that has proven a caller under an earlier one was not guessed.
        digest = proof_of(credential)
        if digest not in self._proven_jwts:
            self._failing.check(address, now)
        refused = self._expired.recall(digest, self._policy.current, now)
        if refused is None:
            return None
        self._failing.count(address, now)
        raise refused

    def _of_api_key(
        self, memory: VerifiedCallers, proof: bytes, credential: bytes, address: str, now: float
    ) -> Admission:
        try:
            admission = self._admission(parse_api_key(credential))
        except UnauthenticatedError:
            # A key costs one look at the policy, so a good one is served whatever others at its address do.
            self._failing.check(address, now)
            self._failing.count(address, now)
            raise
        memory.remember(proof, admission)
        return admission

    async def _verified(self, memory: VerifiedCallers, proof: bytes, jwt: bytes, address: str) -> Admission:
        digest, trusted = proof_of(jwt), self._policy.current
        try:
            admission = self._admission(await self._verifier.verify(jwt))
        except (UnauthenticatedError, UnknownCallerError) as error:
            now = self._clock()
            self._failing.count(address, now)
            if isinstance(error, UnauthenticatedError):
                self._expired.remember(digest, error, trusted, now)
            raise
        # The entry keeps its owner, even if another policy gives the JWT another caller.
        if digest not in self._proven_jwts:
            self._proven_jwts.keep(admission.caller.name, digest, None)
        # If the issuer changed during verification, the JWT may have been verified with its old keys.
        if admission.policy is trusted:
            memory.remember(proof, admission)
        return admission

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

    def bucket(self, caller: Caller) -> Bucket | None:
        """The caller's rate limit on this replica, or the replica's part of its fleet-wide limit; None without a limit.

        A bucket is kept as long as the policy has the caller with the same limit. No request can evict it, and there
        are at most as many buckets as callers.
        """
        limit = caller.rate_limit
        if limit is None:
            return None
        if limit.scope is LimitScope.FLEET:
            return self._fleet.share(caller, limit)
        if self._buckets_of is not self._policy.current:
            self._drop_other_buckets(self._policy.current)
        bucket = self._buckets.get((caller.name, limit))
        if bucket is None:
            bucket = self._buckets[caller.name, limit] = TokenBucket(limit.part(self._workers))
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
        for refusal in self.count_each(caller, 1).values():
            raise refusal

    def count_each(self, caller: Caller, requests: int) -> dict[int, RateLimitedError]:
        """Count so many requests of `caller`, one after the other: the errors of those that are over its limit."""
        bucket = self.bucket(caller)
        if bucket is None:
            return {}
        now = self._clock()
        waits = [bucket.take(now) for _ in range(requests)]
        return {number: RateLimitedError(wait) for number, wait in enumerate(waits) if wait > 0}
