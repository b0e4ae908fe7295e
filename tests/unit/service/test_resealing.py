"""After another key seals, each token of the memory is read once from the shared cache."""

from __future__ import annotations

import asyncio

from app.domain.names import OrgId
from app.service.memory import TokenMemory
from app.service.resealing import RETRY_SECONDS, Resealing
from tests.factories import make_key, make_token
from tests.fakes import FakeCache, FakeConnection, FakePurgeLog, ManualClock

ORGS = [OrgId(f"{number:024X}@AdobeOrg") for number in range(3)]


class FollowingReplica:
    """A memory with tokens of some orgs, whose key ring changes when a test says so."""

    def __init__(self) -> None:
        self.connection = FakeConnection()
        self.memory = TokenMemory(ManualClock(), ManualClock())
        self.changes = asyncio.Queue[None]()
        self.followed = asyncio.Event()
        self.waited: list[float] = []
        cache = FakeCache(ManualClock(), FakePurgeLog(self.connection))
        self.resealing = Resealing(self.memory, cache, self._another_seals, self._sleep)
        for org in ORGS:
            self.memory.put(make_token(make_key(org)))
        self.memory.put(make_token(make_key(ORGS[0], scopes="openid")))

    async def _another_seals(self) -> None:
        if self.changes.empty():
            self.followed.set()
        await self.changes.get()
        self.followed.clear()

    async def _sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.connection.is_down = False
        await asyncio.sleep(0)

    async def change(self) -> None:
        """Let another key seal, and wait until it was followed."""
        await self.changes.put(None)
        self.followed.clear()
        task = asyncio.create_task(self.resealing.run())
        await self.followed.wait()
        task.cancel()


async def test_each_token_is_read_once() -> None:
    """Each set of scopes of each credential is read once per change, and nothing without a change."""
    followed = FollowingReplica()
    assert followed.connection.calls == []
    await followed.change()
    assert followed.connection.calls == ["read"] * 4
    await followed.change()
    assert followed.connection.calls == ["read"] * 8


async def test_an_outage_only_delays_it() -> None:
    """While the shared cache is unavailable the same token is tried again, after a pause."""
    followed = FollowingReplica()
    followed.connection.is_down = True
    await followed.change()
    assert followed.connection.calls == ["read"] * 5
    assert followed.waited.count(RETRY_SECONDS) == 1
