"""A replica's service part on fakes; several of them may share one cache and one lease."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from app.domain.access_token import AccessToken
from app.domain.credential import Credential
from app.domain.names import TokenKey
from app.ports import AssertionSigner, ExchangeBudget
from app.service.backoff import RefreshBackoff
from app.service.epochs import Epochs
from app.service.exchange_admission import ExchangeAdmission
from app.service.exchange_places import ExchangePlaces
from app.service.keeper import Keeper
from app.service.memory import TokenMemory
from app.service.mint import Minter
from app.service.need import Obtained
from app.service.not_before import NotBeforeStore
from app.service.purges import PurgePace, Purges
from app.service.shared_exchange import SharedExchange
from app.service.vend import TokenVendor
from tests.factories import KEY, OTHER_REF, make_credential
from tests.fakes import (
    DAY,
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
    """What replicas share. Without a steady clock of its own, the wall clock is never stepped."""

    clock: ManualClock = field(default_factory=ManualClock)
    steady: ManualClock | None = None
    store: FakeCredentialStore = field(
        default_factory=lambda: FakeCredentialStore(make_credential(), make_credential(OTHER_REF))
    )

    def __post_init__(self) -> None:
        self.steady = self.steady or self.clock
        self.exchanger = FakeExchanger(self.clock)
        self.connection = FakeConnection()
        self.purge_log = FakePurgeLog(self.connection)
        self.cache = FakeCache(self.clock, self.purge_log, self.steady)
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
        places: The places of its exchanges, if a test needs others.
        clock: Its wall clock, if it is not that of the world.
        budget: How often it may call IMS, if a test needs a limit.
        epochs: Its known purges, if a test needs room for fewer.
        seconds: Deadlines of its `SharedExchange`, if a test needs other ones.

    """

    def __init__(
        self,
        world: World,
        purge_pace: PurgePace | None = None,
        places: ExchangePlaces | None = None,
        clock: ManualClock | None = None,
        budget: ExchangeBudget | None = None,
        epochs: Epochs | None = None,
        **seconds: float,
    ) -> None:
        self.world = world
        clock = self.clock = clock or world.clock
        self.sink = RecordedEvents()
        steady = world.steady or world.clock
        self.memory = TokenMemory(clock, steady)
        self.epochs = epochs or Epochs()
        self.key_signer, self.transit_signer = FakeSigner("key"), FakeSigner("transit")
        self.signers: dict[str, AssertionSigner] = {"stored": self.key_signer, "transit": self.transit_signer}
        self.purges = Purges(self.memory, world.purge_log, self.epochs, self.sink, clock, purge_pace)
        self.store = NotBeforeStore(world.store, self.memory, self.purges, self.epochs, clock)
        self.minter = Minter(
            self.store,
            self.signers,
            world.exchanger,
            lambda pem: clock() + len(pem),
            self.sink,
            clock,
            draw=_middle,
        )
        self.fleet = SharedExchange(
            world.cache,
            world.lease,
            self.minter,
            self.epochs,
            self.sink,
            clock,
            ExchangeAdmission(places, budget),
            draw=lambda _low, _high: 0.0,
            **seconds,
        )
        self.backoff = RefreshBackoff(_middle)
        self.vendor = TokenVendor(
            self.memory, self.fleet, self.purges, self.epochs, self.sink, clock, steady, self.backoff
        )

    async def values(self, times: int, key: TokenKey = KEY) -> set[str]:
        """The tokens of as many concurrent requests."""
        obtained = await asyncio.gather(*(self.vendor.vend(key) for _ in range(times)))
        return {item.token.value for item in obtained}

    async def vend(self, key: TokenKey = KEY, min_ttl: float = 0.0) -> Obtained:
        """One request."""
        return await self.vendor.vend(key, min_ttl)

    def answerable(self, key: TokenKey = KEY) -> AccessToken | None:
        """The token that the warm path would answer now."""
        usable = self.vendor.take_usable(key, self.clock())
        return None if usable is None else usable[0]

    def keeper(self, window: float = 3 * DAY) -> Keeper:
        """A keeper of its tokens."""
        steady = self.world.steady or self.world.clock
        return Keeper(self.memory, self.vendor, self.backoff, window, self.clock, steady)

    async def until_idle(self) -> None:
        """Wait until no in-flight call is running, and the work that follows it is done."""
        running = self.vendor._calls._running._running
        while running:
            await asyncio.wait(tuple(running.values()), timeout=5.0)
            await asyncio.sleep(0)


def _middle(low: float, high: float) -> float:
    """In place of a random number between the two: the number of exchanges must not depend on chance."""
    return (low + high) / 2
