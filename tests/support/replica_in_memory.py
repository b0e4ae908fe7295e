"""A replica's service part on fakes; several of them may share one cache and one lease."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from app.domain.credential import Credential
from app.domain.names import TokenKey
from app.ports import AssertionSigner
from app.service.epochs import Epochs
from app.service.memory import TokenMemory
from app.service.mint import Minter
from app.service.purges import PurgePace, Purges
from app.service.shared_exchange import Obtained, SharedExchange
from app.service.vend import TokenVendor
from tests.factories import KEY, OTHER_REF, make_credential
from tests.fakes import (
    FakeCache,
    FakeConnection,
    FakeCredentialStore,
    FakeExchanger,
    FakeLease,
    FakePurgeLog,
    FakeSigner,
    ManualClock,
)
from tests.support.recorded_events import RecordedEvents


@dataclass
class World:
    """What replicas share."""

    clock: ManualClock = field(default_factory=ManualClock)
    store: FakeCredentialStore = field(
        default_factory=lambda: FakeCredentialStore(make_credential(), make_credential(OTHER_REF))
    )

    def __post_init__(self) -> None:
        self.exchanger = FakeExchanger(self.clock)
        self.connection = FakeConnection()
        self.purge_log = FakePurgeLog(self.connection)
        self.cache = FakeCache(self.clock, self.purge_log)
        self.lease = FakeLease(self.clock)

    @property
    def exchanges(self) -> int:
        """How often IMS was called."""
        return len(self.exchanger.grants)

    def redis_down(self, is_down: bool = True) -> None:
        """Make the shared cache and the lease unavailable, or available again."""
        self.connection.is_down = self.lease.is_down = is_down

    def put(self, credential: Credential) -> None:
        """Store a credential."""
        self.store.put(credential)


class ReplicaInMemory:
    """One replica.

    Args:
        world: What it shares with others.
        purge_pace: The times of its `Purges`, if a test needs others.
        seconds: Deadlines of its `SharedExchange`, if a test needs other ones.

    """

    def __init__(self, world: World, purge_pace: PurgePace | None = None, **seconds: float) -> None:
        self.world = world
        self.sink = RecordedEvents()
        self.memory = TokenMemory()
        self.epochs = Epochs()
        self.key_signer, self.transit_signer = FakeSigner("key"), FakeSigner("transit")
        self.signers: dict[str, AssertionSigner] = {"stored": self.key_signer, "transit": self.transit_signer}
        self.minter = Minter(
            world.store,
            self.signers,
            world.exchanger,
            lambda _pem: world.clock() + 1000.0,
            self.sink,
            world.clock,
            draw=lambda low, high: (low + high) / 2,
        )
        self.fleet = SharedExchange(
            world.cache,
            world.lease,
            self.minter,
            self.epochs,
            self.sink,
            world.clock,
            draw=lambda _low, _high: 0.0,
            **seconds,
        )
        self.purges = Purges(self.memory, world.purge_log, self.epochs, self.sink, world.clock, purge_pace)
        self.vendor = TokenVendor(self.memory, self.fleet, self.purges, self.epochs, self.sink, world.clock)

    async def values(self, times: int, key: TokenKey = KEY) -> set[str]:
        """The tokens of as many concurrent requests."""
        obtained = await asyncio.gather(*(self.vendor.vend(key) for _ in range(times)))
        return {item.token.value for item in obtained}

    async def vend(self, key: TokenKey = KEY, min_ttl: float = 0.0) -> Obtained:
        """One request."""
        return await self.vendor.vend(key, min_ttl)

    async def until_idle(self) -> None:
        """Wait until no in-flight call is running, and the work that follows it is done."""
        while len(self.vendor._calls):
            await asyncio.wait(tuple(self.vendor._calls._running.values()), timeout=5.0)
            await asyncio.sleep(0)
