"""One replica's part of a rate limit that all replicas share. Time is an argument."""

from __future__ import annotations

import math

from app.domain.fleet_limit import LEASE_SECONDS, ROOM, LeaseHistory, ShareClaim, ShareGrant
from app.domain.rate_limit import ROUNDING, RateLimit

ASSUMED_REPLICAS = 10
"""A replica that does not know yet how many there are takes a tenth of a limit."""

IDLE_SHARE = 0.5
"""The part of a limit's burst that all replicas together admit before they lease; at least one request each."""

QUIET_LEASES = 3
"""After this many leases without a request, a replica returns what it has."""

MAX_WAIT = 3600.0
"""The longest time that a refused caller is told to wait, in seconds."""

_LEAST_DEMAND = 0.001
"""Requests per second. A replica without recent requests still claims this much until `QUIET_LEASES` have passed."""


class LeasedShare:
    """Counts the requests of one caller against what was leased for it. It never waits for a lease.

    A lease becomes available evenly over its second. A replica that was idle admits its first requests before it has a
    lease (its advance), and reports them with its next claim. While it cannot lease, it enforces its part of the limit.

    Args:
        limit: The fleet-wide limit.
        replicas: The number of replicas.

    """

    __slots__ = (
        "_advance",
        "_asked",
        "_claimed",
        "_granted",
        "_history",
        "_last",
        "_level",
        "_limit",
        "_most",
        "_pending",
        "_quiet",
        "_rate",
        "_tokens",
    )

    def __init__(self, limit: RateLimit, replicas: int) -> None:
        self._limit = limit
        self._tokens = 0.0
        self._pending = 0.0
        self._rate = 0.0
        self._most = math.inf
        self._advance = _advance(limit, replicas)
        self._last = 0.0
        self._asked = 0
        self._claimed = 0.0
        self._quiet = 0
        self._granted = 0.0
        self._level = 0.0
        self._history = LeaseHistory.NONE

    @property
    def is_alone(self) -> bool:
        """Whether it enforces a fixed part of the limit, because it cannot lease."""
        return self._history is LeaseHistory.ALONE

    def take(self, now: float) -> float:
        """Allow one request, or return how long to wait. As `app.domain.rate_limit.TokenBucket.take`.

        If the warm path refuses a request, the long path counts it once more. That raises the demand, but changes
        nothing: a replica that refuses requests claims more than its part anyway.
        """
        self._asked += 1
        elapsed = now - self._last
        self._last = now
        pending = self._pending
        if pending and elapsed > 0.0:  # The same as `_let_out`, because a call is expensive on the hot path.
            gained = elapsed * self._rate
            if gained > pending:
                gained = pending
            self._pending = pending - gained
            tokens = self._tokens + gained
            self._tokens = min(self._most, tokens)
        if self._tokens + self._advance >= 1.0 - ROUNDING:
            self._tokens -= 1.0
            return 0.0
        return self._wait(now)

    def claim(self, now: float) -> ShareClaim | None:
        """What to claim, or None if there is nothing to claim or report. `now` as in `take`."""
        if not self._asked and self._history is LeaseHistory.NONE:
            return None  # Many callers may be idle, so each must cost nothing.
        self._let_out(now)
        elapsed = now - self._claimed
        if not LEASE_SECONDS / 2 <= elapsed <= 5 * LEASE_SECONDS:  # The first one, a late one, or a clock that stepped.
            elapsed = LEASE_SECONDS
        asked, self._asked, self._claimed = self._asked, 0, now
        self._quiet = 0 if asked else self._quiet + 1
        demand = max(asked / elapsed, _LEAST_DEMAND)
        if self._quiet >= QUIET_LEASES:
            demand = 0.0
            if self._advance and not self._tokens and not self._pending:
                self._history = LeaseHistory.NONE
                return None
        unspent = 0.0 if self.is_alone else self._tokens + self._pending
        return ShareClaim(self._limit, demand, unspent, self._history)

    def granted(self, claim: ShareClaim, grant: ShareGrant, replicas: int, now: float) -> None:
        """Apply the answer to a claim.

        Args:
            claim: The claim.
            grant: The answer.
            replicas: The number of replicas.
            now: As in `take`.

        """
        self._let_out(now)
        if self.is_alone:
            self._tokens = self._pending = 0.0
        has = self._tokens + self._pending + grant.requests
        has = min(has, max(self._limit.requests, ROOM * self._limit.rate * LEASE_SECONDS) + 2.0)
        if abs(has) < ROUNDING:
            has = 0.0
        # One whole request is available at once, and the rest over the second. A debt counts at once.
        self._tokens = min(has, max(self._tokens, 1.0)) if has > 0 else has
        self._pending = has - self._tokens
        self._rate, self._most = self._pending / LEASE_SECONDS, math.inf
        idle = claim.demand == 0 and grant.level >= 0
        self._advance = _advance(self._limit, replicas) if idle else 0.0
        self._history = LeaseHistory.LEASED
        self._level, self._granted = grant.level, now

    def alone(self, replicas: int, now: float) -> None:
        """Enforce a fixed part of the limit from now on, because there is no lease. `now` as in `take`."""
        self._let_out(now)
        self._tokens += self._advance
        self._advance = 0.0
        self._rate, self._pending = self._limit.rate / replicas, math.inf
        self._most = max(1.0, self._limit.requests / replicas)
        self._tokens = min(self._tokens, self._most)
        self._history = LeaseHistory.ALONE

    def relimit(self, limit: RateLimit, replicas: int, now: float) -> None:
        """Change the limit: keep at most the same part of it. Arguments as in the class and in `take`."""
        if limit == self._limit:
            return
        self._let_out(now)
        part = min(1.0, limit.rate / self._limit.rate)
        self._limit = limit
        self._tokens = min(self._tokens, self._tokens * part)
        self._pending, self._rate = self._pending * part, self._rate * part
        self._advance = min(self._advance, _advance(limit, replicas))
        if self.is_alone:
            self.alone(replicas, now)

    def _let_out(self, now: float) -> None:
        elapsed, self._last = now - self._last, now
        if elapsed > 0.0 and self._pending:
            gained = min(elapsed * self._rate, self._pending)
            self._pending -= gained
            self._tokens = min(self._tokens + gained, self._most)

    def _wait(self, now: float) -> float:
        """Seconds until a request can be admitted. It may take longer if other replicas claim it, too."""
        missing = 1.0 - self._tokens
        if self._pending >= missing - ROUNDING:
            return missing / self._rate
        # Until the next lease, and until the bucket has what is missing.
        passed = max(0.0, now - self._granted)
        level = min(self._limit.requests, self._level + passed * self._limit.rate)
        lease = LEASE_SECONDS - passed if passed < LEASE_SECONDS else LEASE_SECONDS
        return min(MAX_WAIT, max(lease, (missing - level) / self._limit.rate, LEASE_SECONDS / 100))


def _advance(limit: RateLimit, replicas: int) -> float:
    return max(1.0, math.floor(limit.requests * IDLE_SHARE / replicas))
