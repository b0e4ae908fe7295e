"""A key ring that changes while it is in use: seen twice it is in force, and a bad one changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.domain.events import KeyRingLoaded, KeyRingRefused
from app.shared_cache.key_ring import KeyRingError, UnreadableKeyRingError
from app.shared_cache.key_ring_in_force import KeyRingInForce
from tests.fakes import NOW, ManualClock
from tests.support.cached_tokens import key_ring_document
from tests.support.recorded_events import RecordedEvents

CANARY = b"canary-of-the-key-ring"


@dataclass
class Followed:
    """A key ring with its file and what it reported."""

    file: Path
    ring: KeyRingInForce
    events: RecordedEvents

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the ring in force."""
        return self.ring.current().ids

    async def write(self, content: bytes) -> None:
        """Change the file, and look until the change counts."""
        self.file.write_bytes(content)
        await self.ring.look()
        await self.ring.look()


@pytest.fixture
async def followed(tmp_path: Path) -> AsyncIterator[Followed]:
    """A ring with one key, in force."""
    file, events = tmp_path / "ring.json", RecordedEvents()
    file.write_bytes(key_ring_document("k1"))
    ring = KeyRingInForce(file, events, ManualClock(), look_seconds=0.005)
    await ring.load()
    yield Followed(file, ring, events)
    await ring.aclose()


async def test_a_change_counts_when_it_was_seen_twice(followed: Followed) -> None:
    """One look at new content does not change the ring, the second does, and says which keys it has."""
    followed.file.write_bytes(key_ring_document("k2", "k1"))
    await followed.ring.look()
    before = followed.ids
    await followed.ring.look()
    assert (before, followed.ids) == (("k1",), ("k2", "k1"))
    assert followed.events.all == [KeyRingLoaded(NOW, "k1", ("k1",)), KeyRingLoaded(NOW, "k2", ("k2", "k1"))]


@pytest.mark.parametrize(
    "bad",
    [CANARY, b"", key_ring_document("k1")[:-3], key_ring_document("k1", "k1")],
    ids=["text", "empty", "cut", "same"],
)
async def test_a_bad_ring_is_refused_once(followed: Followed, bad: bytes) -> None:
    """A bad ring is reported once, without any of it, and the last good one stays; so it is when that comes back."""
    await followed.write(bad)
    await followed.ring.look()
    [refused] = followed.events.of(KeyRingRefused)
    assert CANARY.decode() not in repr(refused)
    assert followed.ids == ("k1",)
    await followed.write(key_ring_document("k1"))
    assert [type(event) for event in followed.events.all] == [KeyRingLoaded, KeyRingRefused, KeyRingLoaded]


async def test_a_file_that_is_gone_is_refused_once(followed: Followed) -> None:
    """A missing file is reported once with its reason; the next good one comes into force."""
    followed.file.unlink()
    for _ in range(3):
        await followed.ring.look()
    [refused] = followed.events.of(KeyRingRefused)
    assert refused.reason == "file: cannot be read: no such file or directory"
    before = followed.ids
    await followed.write(key_ring_document("k2"))
    assert (before, followed.ids) == (("k1",), ("k2",))


async def test_only_another_sealing_key_is_announced(followed: Followed) -> None:
    """A key that only opens wakes no one; one that seals does, once."""
    waiting = asyncio.create_task(followed.ring.another_seals())
    await followed.write(key_ring_document("k1", "k2"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await followed.write(key_ring_document("k2", "k1"))
    await asyncio.wait_for(waiting, 5)
    again = asyncio.create_task(followed.ring.another_seals())
    await asyncio.sleep(0)
    assert not again.done()
    again.cancel()


async def test_a_watched_file_is_read_by_itself(followed: Followed) -> None:
    """While it is watched, a change comes into force without a call."""
    watching = asyncio.create_task(followed.ring.watch())
    followed.file.write_bytes(key_ring_document("k2", "k1"))
    await asyncio.wait_for(followed.ring.another_seals(), 5)
    assert followed.ids == ("k2", "k1")
    watching.cancel()


@pytest.mark.parametrize(("content", "error"), [(None, UnreadableKeyRingError), (b"{}", KeyRingError)])
async def test_a_process_does_not_start_without_a_ring(
    tmp_path: Path, content: bytes | None, error: type[KeyRingError]
) -> None:
    """Before the first ring is in force, a missing or bad file is an error."""
    file = tmp_path / "ring.json"
    if content is not None:
        file.write_bytes(content)
    ring = KeyRingInForce(file, RecordedEvents(), ManualClock())
    with pytest.raises(error):
        await ring.load()
    await ring.aclose()
