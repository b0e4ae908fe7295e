"""Purges over a Redis that loses connections, entries or everything: received, or known to be missed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from app.adapters.redis.bounded_replies import MAX_REPLY_BYTES
from app.domain.cache_entry import Purge
from app.domain.dependency_errors import CacheUnavailableError
from tests.support.cached_tokens import OTHER_KEY, REF
from tests.support.redis_broker import RedisReplica, redis_replica
from tests.support.redis_server import RedisServer

DEADLINE = 5.0
STREAM = "itb:purges"
MISSED = Purge(None, 0)


class Listener:
    """Listens as a replica does: reconnects after a lost connection."""

    def __init__(self, replica: RedisReplica) -> None:
        self.heard: list[Purge] = []
        self.losses = 0
        self._replica = replica
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            try:
                async for purge in self._replica.purge_log.purges():
                    self.heard.append(purge)
            except CacheUnavailableError:
                self.losses += 1
                await asyncio.sleep(0.05)

    async def hears(self, *purges: Purge) -> None:
        """Wait until exactly these were received, and forget them."""
        end = time.monotonic() + DEADLINE
        while len(self.heard) < len(purges):
            assert time.monotonic() < end, f"heard only {self.heard}"
            await asyncio.sleep(0.005)
        assert self.heard == list(purges)
        self.heard.clear()

    async def loses(self) -> None:
        """Wait until the connection was lost once more."""
        end, losses = time.monotonic() + DEADLINE, self.losses
        while self.losses == losses:
            assert time.monotonic() < end, "the connection was not lost"
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """End."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def replica(own_redis: RedisServer) -> AsyncIterator[RedisReplica]:
    """The replica that purges."""
    async with redis_replica(own_redis.url) as replica:
        yield replica


@pytest.fixture
async def listener(own_redis: RedisServer, replica: RedisReplica) -> AsyncIterator[Listener]:
    """A second replica that listens, and has received a first purge."""
    async with redis_replica(own_redis.url) as other:
        listener = Listener(other)
        end = time.monotonic() + DEADLINE
        while not listener.heard:
            assert time.monotonic() < end
            await replica.purge_log.raise_epoch(OTHER_KEY.ref, 0)
            await asyncio.sleep(0.02)
        last = Purge(OTHER_KEY.ref, await replica.purge_log.raise_epoch(OTHER_KEY.ref, 0))
        while listener.heard[-1] != last:
            assert time.monotonic() < end
            await asyncio.sleep(0.005)
        listener.heard.clear()
        yield listener
        await listener.stop()


async def test_heard_after_a_lost_connection(own_redis: RedisServer, replica: RedisReplica, listener: Listener) -> None:
    """Purges while the listener is disconnected are received after it reconnects, once each and in order."""
    own_redis.run("ACL", "SETUSER", "default", "-xread", "-xrange")
    await listener.loses()
    epochs = [await replica.purge_log.raise_epoch(REF, 0) for _ in range(250)]
    own_redis.run("ACL", "SETUSER", "default", "+xread", "+xrange")
    await listener.hears(*(Purge(REF, epoch) for epoch in epochs))


async def test_killed_connections(own_redis: RedisServer, replica: RedisReplica, listener: Listener) -> None:
    """A listener whose connection is killed again and again receives every purge."""
    for expected in range(1, 6):
        own_redis.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        epoch = await _purged(replica)
        assert epoch == expected
        await listener.hears(Purge(REF, epoch))


async def test_frozen_for_a_while(own_redis: RedisServer, replica: RedisReplica, listener: Listener) -> None:
    """A listener detects a frozen Redis by itself, and receives purges again once Redis resumes."""
    with own_redis.frozen():
        await listener.loses()
    await listener.hears(Purge(REF, await _purged(replica)))


async def test_trimmed_while_away(own_redis: RedisServer, replica: RedisReplica, listener: Listener) -> None:
    """A listener that was away for longer than the stream keeps entries knows that it missed some."""
    own_redis.run("ACL", "SETUSER", "default", "-xread", "-xrange")
    await listener.loses()
    await replica.purge_log.raise_epoch(REF, 0)
    own_redis.run("XTRIM", STREAM, "MAXLEN", "0")
    await replica.purge_log.raise_epoch(REF, 0)
    own_redis.run("ACL", "SETUSER", "default", "+xread", "+xrange")
    await listener.hears(MISSED)
    await listener.hears(Purge(REF, await replica.purge_log.raise_epoch(REF, 0)))


async def test_flushed(own_redis: RedisServer, replica: RedisReplica, listener: Listener) -> None:
    """After a flush the listener reports once that purges may be missed; later purges are received."""
    own_redis.flush()
    await listener.hears(MISSED)
    await listener.hears(Purge(REF, await replica.purge_log.raise_epoch(REF, 0)))


async def test_restarted_empty(own_redis: RedisServer, replica: RedisReplica, listener: Listener) -> None:
    """A Redis that restarts empty has the same effect as a flush."""
    own_redis.restart()
    await listener.hears(MISSED)
    await listener.hears(Purge(REF, await _purged(replica)))


async def test_stream_that_counts_from_lower_ids(
    own_redis: RedisServer, replica: RedisReplica, listener: Listener
) -> None:
    """A stream that restarted with an earlier clock is followed, after a report of missed purges."""
    own_redis.run("DEL", STREAM)
    own_redis.run("XADD", STREAM, "5-1", "org", REF.org, "credential", REF.name, "epoch", "1")
    await listener.hears(MISSED)
    own_redis.run("XADD", STREAM, "6-1", "org", REF.org, "credential", REF.name, "epoch", "2")
    await listener.hears(Purge(REF, 2))


@pytest.mark.parametrize(
    "fields",
    [
        ("x", "y"),
        ("org", "../..", "credential", "default", "epoch", "1"),
        ("org", b"\xff", "credential", "default", "epoch", "1"),
        ("org", REF.org, "credential", "", "epoch", "1"),
        ("org", REF.org, "credential", "default", "epoch", "one"),
        ("org", REF.org, "credential", "default", "epoch", "9" * 15),  # no purge can have come so far
    ],
    ids=str,
)
async def test_unreadable_entry(own_redis: RedisServer, listener: Listener, fields: tuple[str | bytes, ...]) -> None:
    """An unreadable entry means that something was purged, and does not stop the listener."""
    own_redis.run("XADD", STREAM, "*", *fields)
    await listener.hears(MISSED)
    own_redis.run("XADD", STREAM, "*", "org", REF.org, "credential", REF.name, "epoch", "2")
    await listener.hears(Purge(REF, 2))


@pytest.mark.parametrize("intruder", ["SET", "XADD", "100 x XADD"])
async def test_a_stream_that_cannot_be_read_is_replaced(
    own_redis: RedisServer, replica: RedisReplica, listener: Listener, intruder: str
) -> None:
    """A key of another type, or far too large entries, do not keep the next purges from the replicas."""
    huge = "x" * 2 * MAX_REPLY_BYTES
    if intruder == "SET":
        own_redis.run("SET", STREAM, "not a stream")
    elif intruder == "XADD":
        own_redis.run("XADD", STREAM, "*", "org", huge)
    else:
        script = "for i = 1, 100 do redis.call('XADD', KEYS[1], '*', 'x', ARGV[1]) end"
        own_redis.run("EVAL", script, "1", STREAM, huge[: MAX_REPLY_BYTES // 50])
    await listener.loses()
    await listener.hears(MISSED)
    await listener.hears(Purge(REF, await _purged(replica)))


async def test_redis_away_at_the_start(own_redis: RedisServer) -> None:
    """A replica that could not listen from startup on knows that it may have missed purges."""
    own_redis.kill()
    async with redis_replica(own_redis.url) as replica:
        listener = Listener(replica)
        await listener.loses()
        own_redis.start()
        await listener.hears(MISSED)
        await listener.stop()


async def test_unannounced_purge_is_an_error(own_redis: RedisServer, replica: RedisReplica) -> None:
    """If the other replicas could not be notified, the purge fails, with the epoch already raised."""
    own_redis.run("SET", STREAM, "not a stream")
    with pytest.raises(CacheUnavailableError):
        await replica.purge_log.raise_epoch(REF, 0)
    own_redis.run("DEL", STREAM)
    assert await replica.purge_log.raise_epoch(REF, 0) == 2


async def test_stream_stays_bounded(own_redis: RedisServer, replica: RedisReplica) -> None:
    """The stream does not grow without limit."""
    own_redis.run(
        "EVAL",
        "for i = 1, 12000 do redis.call('XADD', KEYS[1], '*', 'org', 'x') end",
        "1",
        STREAM,
    )
    await replica.purge_log.raise_epoch(REF, 0)
    assert own_redis.run("XLEN", STREAM) <= 10_200


async def _purged(replica: RedisReplica) -> int:
    """Purge; retry if the connection is dead or the circuit breaker is still open."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            return await replica.purge_log.raise_epoch(REF, 0)
        except CacheUnavailableError:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
