"""The `CallerVerifier`: accepts a JWT that an issuer of the policy signed for this broker, and that is valid now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from app.adapters.jwt_verifier.claims import ClaimedIdentity, claimed_identity, claimed_parties
from app.adapters.jwt_verifier.compact import UnverifiedJwt, parse_jwt
from app.adapters.jwt_verifier.issuer_keys import IssuerKeys, Pace
from app.adapters.jwt_verifier.key_source import KeySource
from app.adapters.jwt_verifier.token_review import TokenReview
from app.domain.errors import UnauthenticatedError
from app.domain.identity import Issuer, JwtIdentity
from app.domain.refusal_reason import RefusalReason, SignedFor
from app.egress import EgressProxy
from app.ports import Clock, EventSink
from app.process.own_threads import OwnThreads


@dataclass(frozen=True, slots=True)
class _Trusted:
    issuer: Issuer
    keys: IssuerKeys
    review: TokenReview | None


class JwtCallerVerifier:
    """Implements `CallerVerifier`.

    Args:
        clock: Unix time in seconds; claims are compared with it.
        sink: Takes an event for each fetch of keys and each review.
        pace: The times at which keys are fetched again.
        proxy: The egress proxy, or None to connect directly.

    """

    def __init__(
        self, clock: Clock, sink: EventSink, pace: Pace | None = None, proxy: EgressProxy | None = None
    ) -> None:
        self._clock = clock
        self._sink = sink
        self._pace = pace or Pace()
        self._proxy = proxy
        self._trusted: dict[str, _Trusted] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._threads: dict[IssuerKeys | TokenReview, OwnThreads] = {}

    def trust(self, issuers: tuple[Issuer, ...]) -> None:
        """As `CallerVerifier.trust`. If the source of an issuer's keys has not changed, the current keys are kept."""
        known = {_origin(trusted.issuer): trusted.keys for trusted in self._trusted.values()}
        reviews = {trusted.issuer: trusted.review for trusted in self._trusted.values()}
        self._trusted = {
            issuer.issuer: _Trusted(issuer, self._keys_of(issuer, known), self._review_of(issuer, reviews))
            for issuer in issuers
        }
        for ending in (*known.values(), *reviews.values()):
            if ending is not None:
                self._stop(ending)

    async def verify(self, unverified_jwt: bytes) -> JwtIdentity:
        """As `CallerVerifier.verify`.

        Claims are checked first, because that is cheap and a refusal needs no proof. The signature is checked before
        an identity is made.
        """
        jwt = parse_jwt(unverified_jwt)
        issuer_name = jwt.claims.get("iss")
        trusted = self._trusted.get(issuer_name) if isinstance(issuer_name, str) else None
        if trusted is None:
            raise UnauthenticatedError(RefusalReason.ISSUER_UNKNOWN)
        try:
            claimed = claimed_identity(jwt.claims, trusted.issuer, self._clock())
        except UnauthenticatedError as error:
            raise UnauthenticatedError(error.reason, _signed_for(jwt, trusted)) from None
        identity = await _proved(claimed, jwt, trusted.keys)
        signed_for = SignedFor(identity.issuer, identity.subject)
        if trusted.review is not None:
            try:
                seconds = await trusted.review.confirm(unverified_jwt, identity)
            except UnauthenticatedError as error:
                raise UnauthenticatedError(error.reason, signed_for) from None
            identity = replace(identity, expires_at=min(identity.expires_at, self._clock() + seconds))
        # The policy may have changed during the calls above.
        now_trusted = self._trusted.get(identity.issuer)
        if now_trusted is None or now_trusted.issuer != trusted.issuer:
            raise UnauthenticatedError(RefusalReason.ISSUER_UNKNOWN, signed_for)
        return identity

    async def aclose(self) -> None:
        """Trust no one, and end all tasks."""
        self.trust(())
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _keys_of(self, issuer: Issuer, known: dict[Issuer, IssuerKeys]) -> IssuerKeys:
        origin = _origin(issuer)
        if origin in known:
            return known.pop(origin)
        threads = _threads_of_one_issuer()
        keys = IssuerKeys(issuer.issuer, KeySource(issuer, threads, self._proxy), self._sink, self._pace)
        self._threads[keys] = threads
        keys.start()
        return keys

    def _review_of(self, issuer: Issuer, known: dict[Issuer, TokenReview | None]) -> TokenReview | None:
        if issuer in known:
            return known.pop(issuer)
        if issuer.token_review_url is None:
            return None
        threads = _threads_of_one_issuer()
        review = TokenReview(issuer, threads, self._sink, self._pace, self._proxy)
        self._threads[review] = threads
        return review

    def _stop(self, ending: IssuerKeys | TokenReview) -> None:
        for task in ending.stop():
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        self._threads.pop(ending).close()


def _threads_of_one_issuer() -> OwnThreads:
    """Threads that no other issuer uses, so that a hanging file affects only this one. Callers have deadlines."""
    return OwnThreads("jwks", threads=2, waiting=256)


def _origin(issuer: Issuer) -> Issuer:
    """The part of an issuer that decides which keys are read: neither its audience nor its token review."""
    return replace(
        issuer,
        audiences=(),
        claims=frozenset(),
        token_review_url=None,
        token_review_ca_file=None,
        token_review_token_file=None,
    )


async def _proved(claimed: ClaimedIdentity, jwt: UnverifiedJwt, keys: IssuerKeys) -> JwtIdentity:
    """The identity that `jwt` claims, once its signature is verified: the only place that makes a `JwtIdentity`.

    Raises:
        UnauthenticatedError: The issuer did not sign `jwt`.
        IdentityUnavailableError: The keys of the issuer are unavailable.

    """
    reason = await _unproved(jwt, keys)
    if reason is not None:
        raise UnauthenticatedError(reason)
    return JwtIdentity(claimed.issuer, claimed.subject, claimed.expires_at, claimed.namespace, claimed.claims)


async def _unproved(jwt: UnverifiedJwt, keys: IssuerKeys) -> RefusalReason | None:
    """Why `jwt` is not proven; None if a known key of the issuer signed it or, for an unknown `kid`, a new one."""
    known = await keys.current()
    if known.verifies(jwt):
        return None
    if known.knows(jwt):
        return RefusalReason.SIGNATURE
    renewed = await keys.renewed()
    if renewed is not known and renewed.verifies(jwt):
        return None
    named = jwt.key_id is None or renewed.knows(jwt)
    return RefusalReason.SIGNATURE if named else RefusalReason.KEY_UNKNOWN


def _signed_for(jwt: UnverifiedJwt, trusted: _Trusted) -> SignedFor | None:
    """Issuer and subject of a JWT whose claims are refused, if a key that is already here verifies it.

    No fetch is made for it: the token is refused whatever a fetch would say.
    """
    keys = trusted.keys.present
    if keys is None or not keys.verifies(jwt):
        return None
    return claimed_parties(jwt.claims, trusted.issuer)
