"""Replicas that share the limit of one caller, in virtual time, under any load and with outages of the shared cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.adapters.memory_cache import MemoryLimitShares
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.fleet_limit import ShareClaim, Shares
from app.domain.rate_limit import RateLimit
from app.service.fleet_limits import FleetLimits
from app.service.reload import PolicyInForce
from tests.factories import make_caller, make_policy
from tests.fakes import FakePolicySource, FakeVerifier, ManualClock
from tests.support.recorded_events import RecordedEvents

STEP = 0.01
"""Seconds between two looks at the fleet."""


class FleetUnderLoad:
    """Replicas that renew their leases each second, one after the other.

    Args:
        limit: The caller's limit.
        count: The number of replicas.

    """

    def __init__(self, limit: RateLimit, count: int) -> None:
        self.clock = ManualClock()
        policy = make_policy(make_caller("limited", rate_limit=limit))
        self.policy = PolicyInForce(FakePolicySource(policy), FakeVerifier(), RecordedEvents(), self.clock)
        self.policy.current = policy
        self.shared: MemoryLimitShares = MemoryLimitShares(self.clock)
        self.is_away = False
        self.calls: list[Mapping[str, ShareClaim]] = []
        self.replicas: list[FleetLimits] = []
        self.stopped: set[int] = set()
        self.passed: list[list[float]] = []
        """When a request passed, of each replica."""
        self.waits: list[float] = []
        """What the refused ones were told to wait."""
        self._due: list[float] = []
        self._owed: list[float] = []
        for _ in range(count):
            self.start(self.clock() + len(self.replicas) / count)

    def start(self, due: float) -> int:
        """Start a replica that leases for the first time at `due`; its number."""
        number = len(self.replicas)
        self.replicas.append(FleetLimits(self.policy, self, f"replica-{number}", self.clock))
        self.passed.append([])
        self._due.append(due)
        self._owed.append(0.0)
        return number

    async def lease(self, replica: str, claims: Mapping[str, ShareClaim]) -> Shares:
        """As `app.ports.LimitShares.lease`."""
        self.calls.append(claims)
        if self.is_away:
            raise CacheUnavailableError("away")
        return await self.shared.lease(replica, claims)

    def lose(self) -> None:
        """Lose everything that the shared cache knows."""
        self.shared = MemoryLimitShares(self.clock)

    def limit(self, limit: RateLimit) -> None:
        """Put another policy in force."""
        self.policy.current = make_policy(make_caller("limited", rate_limit=limit))

    def ask(self, number: int) -> float:
        """One request at a replica; 0 if it passed, otherwise what it was told to wait."""
        [caller] = self.policy.current.callers
        assert caller.rate_limit is not None
        wait = self.replicas[number].share(caller, caller.rate_limit).take(self.clock())
        if wait:
            self.waits.append(wait)
        else:
            self.passed[number].append(self.clock())
        return wait

    async def run(self, seconds: float, load: Sequence[float]) -> None:
        """Let time pass under a load: requests per second of each replica, evenly spread."""
        for _ in range(round(seconds / STEP)):
            self.clock.advance(STEP)
            for number in range(len(self.replicas)):
                if number in self.stopped:
                    continue
                self._owed[number] += (load[number] if number < len(load) else 0.0) * STEP
                while self._owed[number] >= 1.0:
                    self._owed[number] -= 1.0
                    self.ask(number)
                if self.clock() >= self._due[number]:
                    self._due[number] += 1.0
                    await self.replicas[number].renew()

    def sums(self, window: float, start: float, end: float) -> list[int]:
        """How many passed in each window between two times, in steps of a tenth of a second."""
        times = sorted(time for replica in self.passed for time in replica)
        begins = [start + step / 10 for step in range(round(10 * (end - start - window)) + 1)]
        return [sum(begin <= time < begin + window for time in times) for begin in begins]

    def between(self, number: int, start: float, end: float) -> int:
        """How many passed at a replica between two times."""
        return sum(start <= time < end for time in self.passed[number])
