"""Rate limits that all replicas share. Parts of them are leased once a second, so no request waits for a lease."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.domain.dependency_errors import CacheUnavailableError
from app.domain.fleet_limit import LEASE_SECONDS, ShareClaim
from app.domain.leased_share import ASSUMED_REPLICAS, LeasedShare
from app.domain.policy import Caller, Policy
from app.domain.rate_limit import LimitScope, RateLimit
from app.ports import Clock, LimitShares
from app.service.reload import PolicyInForce

MAX_LEASES_AT_ONCE = 100
"""Callers in one call to the shared cache. Redis runs nothing else meanwhile, for about 2 ms."""

FEWER_ROUNDS = 10
"""The number of replicas is lowered only after this many leases in a row saw fewer.

If Redis loses the list of replicas, no replica's part may grow.
"""


class FleetLimits:
    """This replica's parts of the limits with the scope ``fleet``.

    Args:
        policy: The policy in force.
        shared: Leases the parts.
        replica: A random name for this process.
        clock: Unix time in seconds.
        sleep: Waits for seconds.

    """

    def __init__(
        self,
        policy: PolicyInForce,
        shared: LimitShares,
        replica: str,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._policy = policy
        self._shared = shared
        self._replica = replica
        self._clock = clock
        self._sleep = sleep
        self._shares: dict[str, LeasedShare] = {}
        self._limits: dict[str, RateLimit] = {}
        self._limits_of: Policy | None = None
        self._seen = 0
        self._fewer = 0
        self._is_alone = False

    @property
    def replicas(self) -> int:
        """The number of replicas that share the limits, as last seen; 0 if unknown."""
        return self._seen

    @property
    def is_alone(self) -> bool:
        """Whether this replica cannot lease now, so that it enforces a fixed part of each limit."""
        return self._is_alone

    def share(self, caller: Caller, limit: RateLimit) -> LeasedShare:
        """This replica's part of the caller's limit."""
        self._follow_policy()
        share = self._shares.get(caller.name)
        if share is None:
            share = self._shares[caller.name] = LeasedShare(limit, self._divisor())
            if self._is_alone:
                share.alone(self._divisor(), self._clock())
        return share

    async def run(self) -> None:
        """Renew the leases until cancelled."""
        while True:
            await self.renew()
            await self._sleep(LEASE_SECONDS)

    async def renew(self) -> None:
        """Lease what is needed for the next second."""
        self._follow_policy()
        if not self._limits:
            return
        now = self._clock()
        claims = {name: claim for name, share in self._shares.items() if (claim := share.claim(now)) is not None}
        try:
            # At least one call, so that the others count this replica.
            names = list(claims)
            for start in range(0, max(1, len(names)), MAX_LEASES_AT_ONCE):
                await self._lease({name: claims[name] for name in names[start : start + MAX_LEASES_AT_ONCE]})
        except CacheUnavailableError:
            self._go_alone()

    def _follow_policy(self) -> None:
        """Apply the limits of the policy in force, and drop callers without one."""
        policy = self._policy.current
        if self._limits_of is policy:
            return
        self._limits_of = policy
        limits = ((caller.name, caller.rate_limit) for caller in policy.callers)
        self._limits = {name: limit for name, limit in limits if limit and limit.scope is LimitScope.FLEET}
        self._shares = {name: share for name, share in self._shares.items() if name in self._limits}
        now = self._clock()
        for name, share in self._shares.items():
            share.relimit(self._limits[name], self._divisor(), now)

    async def _lease(self, claims: dict[str, ShareClaim]) -> None:
        answer = await self._shared.lease(self._replica, claims)
        self._count(answer.replicas)
        self._is_alone = False
        now = self._clock()
        for name, claim in claims.items():
            share = self._shares.get(name)  # The policy may have changed meanwhile.
            if share is not None:
                share.granted(claim, answer.grants[name], self._divisor(), now)

    def _count(self, replicas: int) -> None:
        self._fewer = self._fewer + 1 if replicas < self._seen else 0
        if replicas > self._seen or self._fewer >= FEWER_ROUNDS:
            self._seen, self._fewer = replicas, 0

    def _go_alone(self) -> None:
        self._is_alone = True
        now = self._clock()
        for share in self._shares.values():
            share.alone(self._divisor(), now)

    def _divisor(self) -> int:
        return self._seen or ASSUMED_REPLICAS
