"""Asks a Kubernetes API server whether a token that verified still holds: its service account or pod may be gone.

The TokenReview API (authentication.k8s.io/v1) is asked after everything that can be judged offline, so nobody can make
the broker call it without a token that the issuer signed for us.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
from concurrent.futures import Executor

from app.adapters.jwt_verifier.issuer_keys import Pace
from app.adapters.jwt_verifier.issuer_url import IssuerUrl, IssuerUrlError
from app.domain.errors import IdentityUnavailableError, UnauthenticatedError
from app.domain.events import DependencyCalled, TaskFailed
from app.domain.identity import Issuer
from app.domain.strict_json import strict_json
from app.ports import EventSink

POSITIVE_SECONDS = 45.0
"""How long a yes is believed. The API server itself remembers a token for 10 s: together less than a minute."""

NEGATIVE_SECONDS = 5.0
PAUSE_SECONDS = 1.0
"""After a failure nobody asks for so long, so that an API server in trouble is not flooded."""

MAX_VERDICTS = 20_000
MAX_FLIGHTS = 256
_MAX_CONNECTIONS = 8
_MAX_BODY_BYTES = 64 * 1024
_CREATED = (200, 201)
_HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}

_log = logging.getLogger(__name__)


class TokenReview:
    """Reviews the tokens of one issuer. `stop` ends it; both belong to the event loop.

    Args:
        issuer: Whose; it has a `token_review_url`.
        executor: Runs what blocks: files and certificates.
        sink: Told of every review.
        pace: Time.

    """

    def __init__(self, issuer: Issuer, executor: Executor, sink: EventSink, pace: Pace) -> None:
        assert issuer.token_review_url is not None  # noqa: S101  # the verifier saw to it
        self._issuer = issuer
        self._endpoint = IssuerUrl(
            "the TokenReview URL",
            "token_review",
            issuer.token_review_url,
            issuer.token_review_ca_file,
            issuer.token_review_token_file,
            _MAX_BODY_BYTES,
        )
        self._executor = executor
        self._sink = sink
        self._pace = pace
        # By the token's hash, never by the token: whether it holds, and until when that is believed.
        self._verdicts: dict[bytes, tuple[bool, float]] = {}
        self._flights: dict[bytes, asyncio.Task[None]] = {}
        self._connections = asyncio.Semaphore(_MAX_CONNECTIONS)
        self._failure: str | None = None
        self._asks_again = -math.inf

    def stop(self) -> tuple[asyncio.Task[None], ...]:
        """Cancel everything; the tasks that are ending are for the caller to await."""
        for task in self._flights.values():
            task.cancel()
        return tuple(self._flights.values())

    async def confirm(self, verified_jwt: bytes, subject: str) -> float:
        """For how many more seconds the token may be believed.

        Args:
            verified_jwt: A token of this issuer whose signature and claims were verified.
            subject: Its ``sub`` claim.

        Raises:
            UnauthenticatedError: It does not hold any more.
            IdentityUnavailableError: The API server gives no answer that says so or otherwise.

        """
        name = hashlib.sha256(verified_jwt).digest()
        if (left := self._left(name)) is None:
            await asyncio.wait({self._flight(name, verified_jwt, subject)})
            left = self._left(name)
        if left is None:
            raise _unavailable()
        return left

    def _left(self, name: bytes) -> float | None:
        """Seconds left of a yes; None where there is no verdict."""
        holds, until = self._verdicts.get(name, (False, -math.inf))
        left = until - self._pace.monotonic()
        if left <= 0:
            return None
        if not holds:
            raise UnauthenticatedError
        return left

    def _flight(self, name: bytes, token: bytes, subject: str) -> asyncio.Task[None]:
        flight = self._flights.get(name)
        if flight is not None:
            return flight
        if self._pace.monotonic() < self._asks_again or len(self._flights) >= MAX_FLIGHTS:
            raise _unavailable()
        flight = asyncio.create_task(self._review(name, token, subject), name="token-review")
        self._flights[name] = flight
        flight.add_done_callback(lambda _: self._flights.pop(name, None))
        return flight

    async def _review(self, name: bytes, token: bytes, subject: str) -> None:
        started = self._pace.monotonic()
        outcome, failure = "cancelled", self._failure
        try:
            holds = await self._asked(token, subject)
        except IssuerUrlError as error:
            outcome, failure = IdentityUnavailableError.code, error.reason
        except Exception as error:  # noqa: BLE001  # whoever waits must be told; the next review may succeed
            self._sink.emit(TaskFailed("token-review", type(error).__name__))
            outcome, failure = IdentityUnavailableError.code, "an unexpected error"
        else:
            outcome, failure = "ok", None
            self._remember(name, holds, started)
        finally:
            self._sink.emit(DependencyCalled("token_review", "review", outcome, self._pace.monotonic() - started))
        self._note(failure)

    async def _asked(self, token: bytes, subject: str) -> bool:
        spec = {"token": token.decode("ascii"), "audiences": [self._issuer.audience]}
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        try:
            async with asyncio.timeout(self._pace.review_deadline), self._connections:
                status, body = await self._endpoint.ask(self._executor, "POST", _HEADERS, json.dumps(review).encode())
        except TimeoutError:
            raise IssuerUrlError("the TokenReview URL does not answer in time") from None
        if status not in _CREATED:
            raise IssuerUrlError(f"the TokenReview URL answers HTTP {status}")
        return _holds(body, self._issuer.audience, subject)

    def _remember(self, name: bytes, holds: bool, asked_at: float) -> None:
        self._verdicts.pop(name, None)
        if len(self._verdicts) >= MAX_VERDICTS:
            del self._verdicts[next(iter(self._verdicts))]
        # From when it was asked: the answer says nothing about the time it took to arrive.
        self._verdicts[name] = (holds, asked_at + (POSITIVE_SECONDS if holds else NEGATIVE_SECONDS))

    def _note(self, failure: str | None) -> None:
        if failure is not None:
            self._asks_again = self._pace.monotonic() + PAUSE_SECONDS
            if failure != self._failure:
                _log.warning("Tokens of issuer %s cannot be reviewed: %s.", self._issuer.issuer, failure)
        self._failure = failure


def _holds(body: bytes, audience: str, subject: str) -> bool:
    """What a TokenReview says of its token: it holds only for our audience, and only as the same subject."""
    try:
        review = strict_json(body)
    except ValueError:
        raise IssuerUrlError("the TokenReview URL answers no JSON") from None
    status = review.get("status") if isinstance(review, dict) and review.get("kind") == "TokenReview" else None
    if not isinstance(status, dict):
        raise IssuerUrlError("the TokenReview URL answers no TokenReview")
    user, audiences = status.get("user"), status.get("audiences")
    return (
        status.get("authenticated") is True
        # An API server that does not know of audiences names none: then the token may be for somebody else.
        and isinstance(audiences, list)
        and audience in audiences
        and isinstance(user, dict)
        and user.get("username") == subject
    )


def _unavailable() -> IdentityUnavailableError:
    return IdentityUnavailableError("Whether this JWT still holds cannot be asked at present.")
