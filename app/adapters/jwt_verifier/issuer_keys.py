"""The keys of one issuer, kept fresh by one owned task, and good for a stated time when the issuer is out."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.adapters.jwt_verifier.keys import KeySet, KeySetError
from app.adapters.jwt_verifier.source import FETCH_DEADLINE, KeySource
from app.domain.errors import IdentityUnavailableError
from app.domain.events import DependencyCalled, TaskFailed
from app.ports import EventSink

MAX_AGE = 24 * 3600.0
"""Seconds since the last success for which a key set is believed."""

REFRESH_INTERVAL = 300.0
"""Seconds between two reads of a URL; +- 10 %, so that replicas spread."""

FILE_INTERVAL = 5.0
DEMAND_INTERVAL = 30.0
"""Seconds between two fetches that unknown keys may cause: a flood of forged key ids costs one."""

_FIRST_RETRY, _LAST_RETRY = 1.0, 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """Time and chance, as arguments.

    Args:
        monotonic: Seconds of a clock that never steps; ages are measured by it.
        sleep: Waits for seconds.
        chance: Draws from [0, 1).
        fetch_deadline: Seconds for one fetch.
        patience: Seconds for which a request waits for a fetch.
        review_deadline: Seconds for one TokenReview from beginning to end.

    """

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random
    fetch_deadline: float = FETCH_DEADLINE
    patience: float = 3.0
    review_deadline: float = 3.0


class IssuerKeys:
    """Owns the fetching of one issuer's keys. `start` and `stop` frame its life; both belong to the event loop.

    Args:
        name: The issuer, for the log.
        source: Where its keys are read.
        sink: Told of every fetch.
        pace: Time and chance.

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
        self._flight: asyncio.Task[None] | None = None
        self._runner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to fetch, and go on for ever."""
        self._launch()
        self._runner = asyncio.create_task(self._run(), name="jwks-refresh")

    def stop(self) -> tuple[asyncio.Task[None], ...]:
        """Cancel everything; the tasks that are ending are for the caller to await."""
        ending = tuple(task for task in (self._runner, self._flight) if task is not None and not task.done())
        for task in ending:
            task.cancel()
        return ending

    async def current(self) -> KeySet:
        """The last good set. Where there is none yet, a fetch under way is waited for.

        Raises:
            IdentityUnavailableError: There is none, or it is older than `MAX_AGE`.

        """
        if not self._is_good() and (flight := self._in_flight()) is not None:
            await asyncio.wait({flight}, timeout=self._pace.patience)
        if self._keys is None or not self._is_good():
            raise self._unavailable()
        return self._keys

    async def renewed(self) -> KeySet:
        """The set after a fetch, for a token that the present one does not know; the present one where it is too soon.

        Raises:
            IdentityUnavailableError: The issuer is out, so nobody can say whether it has a new key.

        """
        flight = self._in_flight()
        if flight is None and self._pace.monotonic() >= self._next_demand:
            self._next_demand = self._pace.monotonic() + DEMAND_INTERVAL
            flight = self._launch()
        if flight is not None:
            await asyncio.wait({flight}, timeout=self._pace.patience)
        if self._keys is None or self._failure is not None or self._in_flight() is not None:
            raise self._unavailable()
        return self._keys

    def _is_good(self) -> bool:
        return self._pace.monotonic() - self._read_at <= MAX_AGE

    def _unavailable(self) -> IdentityUnavailableError:
        return IdentityUnavailableError("The keys of the issuer of this JWT cannot be had at present.")

    def _in_flight(self) -> asyncio.Task[None] | None:
        return None if self._flight is None or self._flight.done() else self._flight

    def _launch(self) -> asyncio.Task[None]:
        flight = self._in_flight()
        if flight is None:
            flight = self._flight = asyncio.create_task(self._fetch(), name="jwks-fetch")
        return flight

    async def _run(self) -> None:
        while True:
            # Waited for, not awaited: a fetch is shared with requests, and ends for itself.
            await asyncio.wait({self._launch()})
            await self._pace.sleep(self._delay())

    def _delay(self) -> float:
        chance = self._pace.chance()
        if self._source.is_file:
            return FILE_INTERVAL
        if self._failures == 0:
            return REFRESH_INTERVAL * (0.9 + 0.2 * chance)
        return min(_LAST_RETRY, _FIRST_RETRY * 2.0 ** min(self._failures - 1, 10)) * (0.5 + 0.5 * chance)

    async def _fetch(self) -> None:
        started = self._pace.monotonic()
        failure = await self._failure_of_reading()
        if failure is not None and failure != self._failure:
            _log.warning("The keys of issuer %s cannot be had: %s.", self._name, failure)
        self._failure = failure
        self._failures = 0 if failure is None else self._failures + 1
        outcome = "ok" if failure is None else IdentityUnavailableError.code
        self._sink.emit(DependencyCalled("jwks", "fetch", outcome, self._pace.monotonic() - started))

    async def _failure_of_reading(self) -> str | None:
        try:
            async with asyncio.timeout(self._pace.fetch_deadline):
                await self._read()
        except KeySetError as error:
            return error.reason
        except TimeoutError:
            return "no answer in time"
        except Exception as error:  # noqa: BLE001  # the issuer stays out until the next try; it must come
            self._sink.emit(TaskFailed("jwks-fetch", type(error).__name__))
            return "an unexpected error"
        return None

    async def _read(self) -> None:
        body = await self._source.read()
        if self._keys is None or body != self._body:
            self._keys, self._body = await self._source.parse(body), body
        self._read_at = self._pace.monotonic()
