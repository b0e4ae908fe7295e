"""One rate limit for all replicas: how many requests each may admit until its next lease. Time is an argument.

A token bucket fills at the rate of the limit. Replicas lease requests from it and return what they do not need, so
together they never admit more than the bucket holds. The bucket is divided as in Doorman
(https://github.com/youtube/doorman, algorithm FAIR_SHARE): no replica gets more than an equal part until all others
have what they ask for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.rate_limit import RateLimit

LEASE_SECONDS = 1.0
"""The length of a lease."""

DEMAND_SECONDS = 3.0
"""A replica that has not asked for this long has no demand; it may be dead."""

ROOM = 2.0
"""The capacity of a bucket is at least the inflow of this many leases: a replica may be late, or return many requests.

It is also at least one request more than the inflow of one lease, which may wait for the replica whose turn it is.
"""

REPLICA_SECONDS = 5.0
"""A replica that was not seen for this long does not count."""


class LeaseHistory(StrEnum):
    """What a replica did for a caller lately: it determines the level of a bucket that was lost or is out of date."""

    NONE = "none"
    LEASED = "leased"
    """It has a lease, so a missing bucket was lost, and counts as empty."""
    ALONE = "alone"
    """It could not lease, and admitted requests that the bucket did not count."""


@dataclass(frozen=True, slots=True)
class ShareClaim:
    """What a replica reports and requests for one caller.

    Args:
        limit: The caller's limit.
        demand: Requests per second that the replica receives; 0 returns everything.
        unspent: Requests left from earlier leases; negative if it admitted more than it had leased.
        history: See `LeaseHistory`.

    """

    limit: RateLimit
    demand: float
    unspent: float
    history: LeaseHistory


@dataclass(frozen=True, slots=True)
class ShareGrant:
    """What a replica may admit.

    Args:
        requests: Added to what it has left, for the next `LEASE_SECONDS`; negative if it must return some.
        level: Requests left in the bucket; negative if more were admitted than the limit allows.

    """

    requests: float
    level: float


@dataclass(frozen=True, slots=True)
class Shares:
    """The answer to the claims of one replica.

    Args:
        replicas: The number of replicas that asked lately, including this one.
        grants: One for each claim, by the caller's name.

    """

    replicas: int
    grants: dict[str, ShareGrant]


@dataclass(slots=True)
class _Demand:
    """What one replica asked for.

    Args:
        rate: Requests per second.
        seen: When it asked last.
        served: When it last got a whole request.

    """

    rate: float
    seen: float
    served: float = 0.0


@dataclass(slots=True)
class FleetLimit:
    """The bucket of one caller.

    Args:
        level: Requests in it; negative if more were admitted than the limit allows.
        at: The time of this level, in seconds of any clock.

    """

    level: float
    at: float
    _demands: dict[str, _Demand] = field(default_factory=dict)

    def lease(self, replica: str, claim: ShareClaim, now: float, replicas: int) -> ShareGrant:
        """Answer one claim.

        Args:
            replica: Who asks.
            claim: Its claim.
            now: Seconds, by the same clock as `at`. If the clock runs backwards, no request is gained.
            replicas: The number of replicas.

        """
        rate, kept = claim.limit.rate, max(0.0, claim.unspent)
        inflow = rate * LEASE_SECONDS
        capacity = max(claim.limit.requests, ROOM * inflow, 1 + inflow)
        # Replicas cannot have a larger debt: each admits at least one request in advance.
        level = max(self.level, -max(capacity, replicas))
        level = min(capacity, level + max(0.0, now - self.at) * rate + min(0.0, claim.unspent))
        if claim.history is LeaseHistory.ALONE:
            level = min(level, 0.0)
        mine = self._demands.pop(replica, _Demand(claim.demand, now))
        # If the clock was set back, `served` would be in the future, and this replica would always be last.
        mine.rate, mine.seen, mine.served = claim.demand, now, min(mine.served, now)
        others = {who: demand for who, demand in self._demands.items() if abs(now - demand.seen) <= DEMAND_SECONDS}
        share = fair_share(mine.rate, [other.rate for other in others.values()], max(level, inflow), inflow)
        if mine.rate <= 0:
            grant = -kept
        elif share < 1:
            first = all(mine.served <= other.served for other in others.values())
            grant = 1 - kept if kept > 1 or (first and level >= 1 - kept) else 0.0
        else:
            grant = min(max(share - max(0.0, kept - 1), -kept), max(0.0, level))
        if kept + grant >= 1:
            mine.served = now
        self.level, self.at = level - grant, now
        self._demands = {**others, **({replica: mine} if mine.rate > 0 else {})}
        return ShareGrant(grant - min(0.0, claim.unspent), self.level)


def fair_share(mine: float, others: Iterable[float], available: float, inflow: float) -> float:
    """What one of several replicas gets of what is available: its demand, or an equal part if that is less.

    Inflow that no one asks for is divided equally. The rest stays in the bucket for a burst.
    """
    demands = [*others]
    left, several = available, 1 + len(demands)
    smaller = sorted(demand for demand in demands if demand < mine)
    for place, demand in enumerate(smaller):
        left -= min(demand, left / (several - place))
    share = min(mine, left / (several - len(smaller)))
    return share + max(0.0, inflow - sum(demands) - mine) / several
