"""How often IMS may be called with one client: learned from its 429s as TCP learns a path's rate (AIMD)."""

from __future__ import annotations

import math
from dataclasses import dataclass

RISE = 0.1
"""By how much the rate rises: exchanges per second, in each second."""

LEAST_RATE = 0.2
"""Exchanges per second that are tried even if IMS refuses all."""

FORGOTTEN_RATE = 100.0
"""A rate that has risen to this ends the limit."""

HALVING_PAUSE = 1.0
"""Seconds in which further answers 429 count as the same one: many calls may be under way."""

REFUSED_SHARE = 0.02
"""The calls that all credentials together have that IMS refused last time, for each call of another one."""

REFUSED_RISE = 1 / 120
"""Besides, so many calls per second, for a client that no one else uses."""

REMEMBERED_SECONDS = 3600.0
"""A shared cache may drop a rate that is not used for so long: it would have risen to `FORGOTTEN_RATE` long before."""


@dataclass(frozen=True, slots=True)
class BudgetKey:
    """What IMS limits: a client at one of its hosts.

    Args:
        ims_base_url: The host.
        client_id: The client; tenants of an app share it.

    """

    ims_base_url: str
    client_id: str


@dataclass(slots=True)
class LearnedRate:
    """A token bucket whose rate is learned.

    Until the first 429 there is no limit, and calls are only counted. A 429 halves the rate, or the number of calls of
    the last second; from then on it rises steadily. Times are in seconds of any clock.

    Args:
        at: When it begins.

    """

    at: float
    rate: float | None = None
    level: float = 1.0
    refused_level: float = 1.0
    recent: float = 0.0
    halved_at: float = -math.inf

    def take(self, now: float, *, was_refused: bool) -> float:
        """Take one call. 0 if it may be made, else the seconds after which to ask again."""
        self._advance(now)
        wait = self._wait(was_refused)
        if wait == 0.0:
            self.level -= 1.0
            self.refused_level = min(1.0, self.refused_level + (-1.0 if was_refused else REFUSED_SHARE))
            self.recent += 1.0
        return wait

    def throttled(self, now: float) -> None:
        """Note that IMS answered 429."""
        self._advance(now)
        if now - self.halved_at < HALVING_PAUSE:
            return
        self.halved_at = now
        known = self.recent if self.rate is None else self.rate
        self.rate = max(LEAST_RATE, min(known, FORGOTTEN_RATE) / 2)
        self.level = 0.0

    def _wait(self, was_refused: bool) -> float:
        if self.rate is None:
            self.level = self.refused_level = 1.0
            return 0.0
        wait = max(0.0, 1.0 - self.level) / self.rate
        if was_refused:
            wait = max(wait, max(0.0, 1.0 - self.refused_level) / REFUSED_RISE)
        return wait

    def _advance(self, now: float) -> None:
        passed = max(0.0, now - self.at)
        self.at = now
        self.recent *= math.exp(-passed)
        if self.rate is None:
            return
        self.rate += RISE * passed
        self.level = min(max(1.0, self.rate), self.level + self.rate * passed)
        self.refused_level = min(1.0, self.refused_level + REFUSED_RISE * passed)
        if self.rate >= FORGOTTEN_RATE:
            self.rate = None
