"""The circuit breaker of each IMS host: it tells a host that is down from tenants that fail at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from app.process.breaker import CircuitBreaker

UNREACHABLE_IN_A_ROW = 3
"""Connections in a row that could not be made: they open the breaker, whoever asked."""

FAILING_ORGS = 20
"""Orgs in a row whose exchange got no answer or a 5xx: fewer may be those tenants' own trouble."""

TRIAL_PAUSE = 1.0
"""Seconds between two trials while the breaker is open."""


class Evidence(Enum):
    """What one call says about its host."""

    NONE = "none"
    ANSWERED = "answered"
    """It answered, even with a refusal or a 429."""

    UNREACHABLE = "unreachable"
    """No connection could be made."""

    FAILED = "failed"
    """It answered with a 5xx, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that may be made.

    Args:
        org: Whose it is.
        started: When (monotonic, in seconds).
        is_trial: Whether the breaker was open.

    """

    org: str
    started: float
    is_trial: bool


class HostBreaker:
    """Opens if the host is down, and closes at its first answer.

    While it is open, one call a second is tried, and besides any call for an org that has not failed: one tenant that
    works must not wait for others that do not.

    Args:
        clock: A monotonic clock, in seconds.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._breaker = CircuitBreaker(clock, threshold=1, pause=TRIAL_PAUSE)
        self._unreachable = 0
        self._failing: set[str] = set()
        self._answered_at = float("-inf")
        self._trials = 0
        self.last_detail = ""

    @property
    def is_open(self) -> bool:
        """Whether most calls fail at once."""
        return self._breaker.is_open

    def start(self, org: str) -> Attempt | None:
        """Start a call for `org`; None if it may not be made now."""
        if not self.is_open:
            return Attempt(org, self._clock(), is_trial=False)
        is_new = self._trials == 0 and self._unreachable < UNREACHABLE_IN_A_ROW and org not in self._failing
        if not is_new and not self._breaker.try_acquire():
            return None
        self._trials += 1
        return Attempt(org, self._clock(), is_trial=True)

    def end(self, attempt: Attempt, evidence: Evidence, detail: str) -> None:
        """Note what a call that `start` admitted says about the host, and its sentence for the operator."""
        if attempt.is_trial:
            self._trials -= 1
        if evidence is Evidence.ANSWERED:
            self._answered_at = self._clock()
            self._unreachable = 0
            self._failing.clear()
            self._breaker.succeeded()
        elif evidence is Evidence.UNREACHABLE:
            self._unreachable += 1
            self._failed(detail)
        elif (
            evidence is Evidence.FAILED and self._answered_at <= attempt.started
        ):  # Otherwise it answered others meanwhile.
            if len(self._failing) < FAILING_ORGS:
                self._failing.add(attempt.org)
            self._failed(detail)

    def _failed(self, detail: str) -> None:
        self.last_detail = detail
        if self._unreachable >= UNREACHABLE_IN_A_ROW or len(self._failing) >= FAILING_ORGS:
            self._breaker.failed()


class HostBreakers:
    """The breakers of all hosts. Only hosts of `BROKER_IMS_BASE_URLS` are called, so there are few.

    Args:
        clock: A monotonic clock, in seconds.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._breakers: dict[str, HostBreaker] = {}

    def of(self, url: str) -> HostBreaker:
        """The breaker of the host and port of `url`."""
        return self._breakers.setdefault(urlsplit(url).netloc, HostBreaker(self._clock))

    @property
    def any_is_open(self) -> bool:
        """Whether that of any host is open."""
        return any(breaker.is_open for breaker in self._breakers.values())
