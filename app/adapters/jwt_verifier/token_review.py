"""Asks a Kubernetes API server whether a verified token is still valid: its service account or pod may be gone.

The TokenReview API (authentication.k8s.io/v1) is called after all offline checks, so no one can make the broker call it
without a token that the issuer signed for us.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from cachetools import LRUCache

from app.adapters.jwt_verifier.issuer_error import IssuerError
from app.adapters.jwt_verifier.issuer_keys import Pace
from app.adapters.jwt_verifier.issuer_url import IssuerUrl
from app.domain.dependency_errors import IdentityUnavailableError, OverloadedError
from app.domain.errors import UnauthenticatedError
from app.domain.events import TaskFailed
from app.domain.identity import Issuer, JwtIdentity
from app.domain.refusal_reason import RefusalReason
from app.domain.strict_json import strict_json
from app.egress import EgressProxy
from app.ports import EventSink
from app.process.observed_call import ObservedCall
from app.process.own_threads import OwnThreads
from app.process.single_flight import SingleFlight

POSITIVE_SECONDS = 45.0
"""How long a positive review is valid. The API server itself caches one for 10 s: together less than a minute."""

NEGATIVE_SECONDS = 5.0
PAUSE_SECONDS = 1.0
"""Seconds without calls after a failure, so that an API server in trouble is not flooded."""

MAX_VERDICTS = 20_000
MAX_REVIEWS = 256
_MAX_CONNECTIONS = 8
_MAX_BODY_BYTES = 64 * 1024
CREATED = (200, 201)
_HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}

_log = logging.getLogger(__name__)


class ReviewEndpoint:
    """Where the tokens of an issuer are reviewed.

    Args:
        issuer: The issuer; it has a `token_review_url`.
        threads: Run blocking work: reading files and certificates.
        proxy: The egress proxy, or None to connect directly.

    """

    def __init__(self, issuer: Issuer, threads: OwnThreads, proxy: EgressProxy | None) -> None:
        assert issuer.token_review_url is not None  # noqa: S101  # reviews are made only for such issuers
        self._audiences = issuer.audiences
        self._threads = threads
        self._url = IssuerUrl(
            "the TokenReview URL",
            "token_review",
            issuer.token_review_url,
            issuer.token_review_ca_file,
            issuer.token_review_token_file,
            _MAX_BODY_BYTES,
            proxy,
        )

    async def ask(self, token: bytes) -> tuple[int, bytes]:
        """HTTP status and body of the answer to one review. The deadline is the caller's.

        Raises:
            IssuerError: A file is unusable, or the server does not answer.

        """
        spec = {"token": token.decode("ascii"), "audiences": [*self._audiences]}
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        return await self._url.ask(self._threads, "POST", _HEADERS, json.dumps(review).encode())


class TokenReview:
    """Reviews the tokens of one issuer until `stop`, which is called in the event loop's thread.

    Args:
        issuer: The issuer; it has a `token_review_url`.
        threads: Run blocking work: reading files and certificates.
        sink: Takes an event of each review.
        pace: The clock and the deadline of a review.
        proxy: The egress proxy, or None to connect directly.

    """

    def __init__(
        self, issuer: Issuer, threads: OwnThreads, sink: EventSink, pace: Pace, proxy: EgressProxy | None = None
    ) -> None:
        self._issuer = issuer
        self._endpoint = ReviewEndpoint(issuer, threads, proxy)
        self._sink = sink
        self._pace = pace
        # By the token's hash, never by the token: whether it is valid, and until when that verdict may be used.
        self._verdicts = LRUCache[bytes, tuple[bool, float]](MAX_VERDICTS)
        self._reviews = SingleFlight[bytes, None](MAX_REVIEWS, name="token-review")
        self._connections = asyncio.Semaphore(_MAX_CONNECTIONS)
        self._failure: str | None = None
        self._asks_again = -math.inf

    def stop(self) -> tuple[asyncio.Task[None], ...]:
        """Cancel everything; returns the tasks that are ending, for the caller to await."""
        return self._reviews.cancel()

    async def confirm(self, verified_jwt: bytes, identity: JwtIdentity) -> float:
        """The number of seconds for which the token may still be used.

        Args:
            verified_jwt: A token of this issuer.
            identity: What the token proves, offline.

        Raises:
            UnauthenticatedError: The token is no longer valid.
            IdentityUnavailableError: The API server does not say whether it is.

        """
        name = hashlib.sha256(verified_jwt).digest()
        if (left := self._left(name)) is None:
            await self._join(name, partial(self._review, name, verified_jwt, identity.subject))
            left = self._left(name)
        if left is None:
            raise _unavailable()
        return left

    def _left(self, name: bytes) -> float | None:
        """Seconds for which a positive review is still valid; None if there is no verdict."""
        holds, until = self._verdicts.get(name, (False, -math.inf))
        left = until - self._pace.monotonic()
        if left <= 0:
            return None
        if not holds:
            raise UnauthenticatedError(RefusalReason.REVIEW)
        return left

    async def _join(self, name: bytes, review: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if name not in self._reviews and self._pace.monotonic() < self._asks_again:
            raise _unavailable()
        try:
            await self._reviews.join(name, review)
        except OverloadedError:
            raise _unavailable() from None

    async def _review(self, name: bytes, token: bytes, subject: str) -> None:
        asked_at, failure = self._pace.monotonic(), None
        try:
            with ObservedCall(self._sink, "token_review", "review", _outcome_of, monotonic=self._pace.monotonic):
                holds = await self._asked(token, subject)
        except IssuerError as error:
            failure = error.reason
        except Exception as error:  # noqa: BLE001  # the requests that wait must be answered; the next review may succeed
            self._sink.emit(TaskFailed("token-review", type(error).__name__))
            failure = "an unexpected error"
        else:
            # From when it was asked: the answer says nothing about the time it took to arrive.
            self._verdicts[name] = (holds, asked_at + (POSITIVE_SECONDS if holds else NEGATIVE_SECONDS))
        self._note(failure)

    async def _asked(self, token: bytes, subject: str) -> bool:
        try:
            async with asyncio.timeout(self._pace.review_deadline), self._connections:
                status, body = await self._endpoint.ask(token)
        except TimeoutError:
            raise IssuerError("the TokenReview URL does not answer in time") from None
        if status not in CREATED:
            raise IssuerError(f"the TokenReview URL answers HTTP {status}")
        return review_holds(body, self._issuer.audiences, subject)

    def _note(self, failure: str | None) -> None:
        if failure is not None:
            self._asks_again = self._pace.monotonic() + PAUSE_SECONDS
            if failure != self._failure:
                _log.warning("Tokens of issuer %s cannot be reviewed: %s.", self._issuer.issuer, failure)
        self._failure = failure


def review_holds(body: bytes, ours: tuple[str, ...], subject: str) -> bool:
    """Whether a TokenReview says that its token is valid, for our audience and as the same subject."""
    try:
        review = strict_json(body)
    except ValueError:
        raise IssuerError("the TokenReview URL does not answer with JSON") from None
    status = review.get("status") if isinstance(review, dict) and review.get("kind") == "TokenReview" else None
    if not isinstance(status, dict):
        raise IssuerError("the TokenReview URL does not answer with a TokenReview")
    user, audiences = status.get("user"), status.get("audiences")
    return (
        status.get("authenticated") is True
        # An API server that does not support audiences names none: then the token may be meant for another service.
        and isinstance(audiences, list)
        and any(audience in audiences for audience in ours)
        and isinstance(user, dict)
        and user.get("username") == subject
    )


def _outcome_of(_: BaseException) -> str:
    return IdentityUnavailableError.code


def _unavailable() -> IdentityUnavailableError:
    return IdentityUnavailableError("This JWT cannot be confirmed: its API server does not answer.")
