"""The keys of one issuer, kept fresh by one background task, and used for a limited time while the issuer is down."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.adapters.jwt_verifier.issuer_error import IssuerError
from app.adapters.jwt_verifier.key_set import KeySet
from app.adapters.jwt_verifier.key_source import FETCH_DEADLINE, KeySource
from app.domain.dependency_errors import IdentityUnavailableError
from app.domain.events import TaskFailed
from app.ports import EventSink
from app.process.observed_call import ObservedCall
from app.process.single_flight import SingleFlight
from app.process.supervisor import growing_delay, supervised

MAX_AGE = 24 * 3600.0
"""Seconds after the last success for which a key set is used."""

REFRESH_INTERVAL = 300.0
"""Seconds between two reads of a URL, +- 10 % to spread replicas."""

FILE_INTERVAL = 5.0
DEMAND_INTERVAL = 30.0
"""Seconds between two fetches because of unknown keys: a flood of forged key ids causes only one."""

_FIRST_RETRY, _LAST_RETRY = 1.0, 30.0
_FETCH, _REFRESH = "fetch", "jwks-refresh"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """Clock, random numbers and deadlines, as arguments.

    Args:
        monotonic: Seconds of a clock that never steps; measures ages.
        sleep: Waits for seconds.
        chance: Draws from [0, 1).
        fetch_deadline: Seconds for one fetch.
        max_wait: Seconds for which a request waits for a fetch.
        review_deadline: Seconds for one TokenReview from beginning to end.

    """

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random
    fetch_deadline: float = FETCH_DEADLINE
    max_wait: float = 3.0
    review_deadline: float = 3.0


class IssuerKeys:
    """Fetches one issuer's keys from `start` to `stop`; call both in the event loop's thread.

    Args:
        name: The issuer, for the log.
        source: Reads its keys.
        sink: Takes an event of each fetch.
        pace: Clock, random numbers and deadlines.

    """

    def __init__(self, name: str, source: KeySource, sink: EventSink, pace: Pace) -> None:
        self._name = name
        self._source = source
        self._sink = sink
        self._pace = pace
        self._keys: KeySet | None = None
        self._body = b""
        self._read_at = -math.inf
        self._failure: str | None = None
        self._failures = 0
        self._next_demand = -math.inf
        self._fetches = SingleFlight[str, None](name="jwks-fetch")
        self._runner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to fetch, and continue until `stop`."""
        self._start_fetch()
        run = supervised(_REFRESH, self._run, self._sink, lambda _: self._delay(), sleep=self._pace.sleep)
        self._runner = asyncio.create_task(run, name=_REFRESH)

    def stop(self) -> tuple[asyncio.Task[None], ...]:
        """Cancel everything; returns the tasks that are ending, for the caller to await."""
        ending = self._fetches.cancel()
        if self._runner is not None and not self._runner.done():
            self._runner.cancel()
            ending = (*ending, self._runner)
        return ending

    @property
    def present(self) -> KeySet | None:
        """The last good set, without waiting for anything; None if there is none."""
        return self._keys if self._is_good() else None

    async def current(self) -> KeySet:
        """The last good set. If there is none yet, waits for a running fetch.

        Raises:
            IdentityUnavailableError: There is no set, or it is older than `MAX_AGE`.

        """
        if not self._is_good() and (fetch := self._fetches.running(_FETCH)) is not None:
            await asyncio.wait({fetch}, timeout=self._pace.max_wait)
        if self._keys is None or not self._is_good():
            raise self._unavailable()
        return self._keys

    async def renewed(self) -> KeySet:
        """The set after a new fetch, for a token with an unknown key; the current set if a fetch is too soon.

        Raises:
            IdentityUnavailableError: The issuer is down, so it is unknown whether it has a new key.

        """
        fetch = self._fetches.running(_FETCH)
        if fetch is None and self._pace.monotonic() >= self._next_demand:
            self._next_demand = self._pace.monotonic() + DEMAND_INTERVAL
            fetch = self._start_fetch()
        if fetch is not None:
            await asyncio.wait({fetch}, timeout=self._pace.max_wait)
        if self._keys is None or self._failure is not None or _FETCH in self._fetches:
            raise self._unavailable()
        return self._keys

    def _is_good(self) -> bool:
        return self._pace.monotonic() - self._read_at <= MAX_AGE

    def _unavailable(self) -> IdentityUnavailableError:
        return IdentityUnavailableError("The signing keys of this JWT's issuer are unavailable.")

    def _start_fetch(self) -> asyncio.Task[None]:
        return self._fetches.start(_FETCH, self._fetch)

    async def _run(self) -> None:
        # Only waits for the task, because a fetch is shared with requests and handles its own failures.
        await asyncio.wait({self._start_fetch()})

    def _delay(self) -> float:
        chance = self._pace.chance()
        if self._source.is_file:
            return FILE_INTERVAL
        if self._failures == 0:
            return REFRESH_INTERVAL * (0.9 + 0.2 * chance)
        return growing_delay(self._failures, _FIRST_RETRY, _LAST_RETRY, chance)

    async def _fetch(self) -> None:
        failure = await self._failure_of_reading()
        if failure is not None and failure != self._failure:
            _log.warning("The keys of issuer %s are unavailable: %s.", self._name, failure)
        self._failure = failure
        self._failures = 0 if failure is None else self._failures + 1

    async def _failure_of_reading(self) -> str | None:
        try:
            with ObservedCall(self._sink, "jwks", "fetch", _outcome_of, monotonic=self._pace.monotonic):
                async with asyncio.timeout(self._pace.fetch_deadline):
                    await self._read()
        except IssuerError as error:
            return error.reason
        except TimeoutError:
            return "no answer in time"
        except Exception as error:  # noqa: BLE001  # the next fetch must follow any error
            self._sink.emit(TaskFailed("jwks-fetch", type(error).__name__))
            return "an unexpected error"
        return None

    async def _read(self) -> None:
        body = await self._source.read()
        if self._keys is None or body != self._body:
            self._keys, self._body = await self._source.parse(body), body
            if not len(self._keys):
                _log.warning("Issuer %s publishes no usable key: all its JWTs are refused.", self._name)
        self._read_at = self._pace.monotonic()


def _outcome_of(_: BaseException) -> str:
    return IdentityUnavailableError.code
