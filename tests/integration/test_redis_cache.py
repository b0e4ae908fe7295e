"""A value in Redis is trusted only if it opens: sealed, bound to its key, and of a known format."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from app.adapters.redis.scripts import RESEAL
from app.domain.cache_entry import StoreOutcome
from app.domain.token_record import encode_token
from app.shared_cache.key_ring import KeyRing
from app.shared_cache.sealing import seal
from tests.support.cached_tokens import ALL_KEYS, KEY, ORG, OTHER_KEY, REF, dated_key_ring, key_ring, token_of
from tests.support.redis_broker import RedisReplica, redis_replica
from tests.support.redis_server import RedisServer

NAME = f"itb:{{{ORG}/default}}:token:*"
OTHER_NAME = f"itb:{{{OTHER_KEY.ref.org}/default}}:token:*"
CANARY = f"eyJ.{base64.urlsafe_b64encode(os.urandom(48)).decode()}"
NOW = round(time.time(), 3)
TOKEN = token_of(KEY, CANARY, minted_at=NOW)
LATER = token_of(KEY, "eyJ.later", minted_at=NOW + 60)
LATEST = token_of(KEY, "eyJ.latest", minted_at=NOW + 120)


@pytest.fixture
async def replica(redis_server: RedisServer) -> AsyncIterator[RedisReplica]:
    """One replica with an empty Redis."""
    async with redis_replica(redis_server.url) as replica:
        yield replica


async def test_redis_never_has_a_secret(redis_server: RedisServer, replica: RedisReplica) -> None:
    """No key name and no value holds the token or any other part of its record."""
    for key in ALL_KEYS:
        await replica.cache.store(token_of(key, CANARY, minted_at=NOW))
        await replica.lease.acquire(key)
    await replica.cache.hold(REF, 60)
    await replica.cache.claim_replacement(REF, 60)
    values = b"".join(redis_server.run("GET", key) for key in redis_server.key_names())
    await replica.purge_log.raise_epoch(REF, 0)
    for text in (CANARY, "client-of-the-tests", "AdobeID", "adobelogin"):
        assert text.encode() not in values + redis_server.dump()


async def test_sealed_twice_is_never_the_same(redis_server: RedisServer, replica: RedisReplica) -> None:
    """Each sealing uses a new nonce: two stored values of the same token have only their header in common."""
    sealed = []
    for _ in range(2):
        await replica.cache.store(TOKEN)
        sealed.append(redis_server.run("GET", NAME).split(b";", 4)[4])
        redis_server.flush()
    assert sealed[0][:12] != sealed[1][:12]
    assert sealed[0][12:] != sealed[1][12:]


async def test_redis_forgets_at_the_expiry(redis_server: RedisServer, replica: RedisReplica) -> None:
    """Redis drops a token when it expires, and nothing of an expired token remains."""
    await replica.cache.store(TOKEN)
    assert redis_server.run("PEXPIRETIME", NAME) == int(TOKEN.expires_at * 1000)
    await replica.cache.store(token_of(OTHER_KEY, minted_at=NOW - 1e6))
    assert redis_server.run("EXISTS", OTHER_NAME) == 0


async def test_storing_a_token_gives_back_its_lease(redis_server: RedisServer, replica: RedisReplica) -> None:
    """The lease is free at once, whether the token is stored or not, and its release sends nothing more."""
    async with redis_replica(redis_server.url) as other:
        for token, outcome in ((LATER, StoreOutcome.STORED), (TOKEN, StoreOutcome.OLDER)):
            holder = await replica.lease.acquire(KEY)
            assert holder is not None
            assert await replica.cache.store(token) is outcome
            others = await other.lease.acquire(KEY)
            assert others is not None
            await replica.lease.release(KEY, holder)
            assert not await replica.lease.renew(KEY, holder)
            assert await other.lease.renew(KEY, others)
            await other.lease.release(KEY, others)
    assert replica.events.calls("release") == []
    assert other.events.calls("release") == ["ok", "ok"]


async def test_storing_a_token_leaves_the_lease_of_another(redis_server: RedisServer, replica: RedisReplica) -> None:
    """A replica whose lease has ended does not give back that of its successor."""
    assert await replica.lease.acquire(KEY) is not None
    redis_server.run("DEL", f"itb:{{{ORG}/default}}:lease:*")
    async with redis_replica(redis_server.url) as other:
        successor = await other.lease.acquire(KEY)
        assert successor is not None
        await replica.cache.store(TOKEN)
        assert await other.lease.renew(KEY, successor)


async def test_reads_go_on_while_writes_wait(redis_server: RedisServer, replica: RedisReplica) -> None:
    """While Redis lets writes wait, as in a planned failover, a token is read as before."""
    await replica.cache.store(TOKEN)
    assert (await replica.cache.read(KEY)).token == TOKEN
    redis_server.run("CLIENT", "PAUSE", 5000, "WRITE")
    try:
        assert (await replica.cache.read(KEY)).token == TOKEN
    finally:
        redis_server.run("CLIENT", "UNPAUSE")


async def test_swapped_tenants(redis_server: RedisServer, replica: RedisReplica) -> None:
    """When two tenants' values are swapped, neither gets the other's token, and both alarms are raised."""
    await replica.cache.store(TOKEN)
    await replica.cache.store(token_of(OTHER_KEY, "eyJ.other", minted_at=NOW))
    one, other = redis_server.run("MGET", NAME, OTHER_NAME)
    redis_server.run("MSET", NAME, other, OTHER_NAME, one)
    assert (await replica.cache.read(KEY)).token is None
    assert (await replica.cache.read(OTHER_KEY)).token is None
    assert replica.refused == ["integrity", "integrity"]


async def test_every_flipped_bit_is_noticed(redis_server: RedisServer, replica: RedisReplica) -> None:
    """A value with any one bit changed is a miss, and does not block a new value unless its format looks newer."""
    await replica.cache.store(TOKEN)
    good = redis_server.run("GET", NAME)
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1 << random.randrange(7)
        redis_server.run("SET", NAME, bytes(bad))
        assert (await replica.cache.read(KEY)).token is None, position
        if not bad[3:4].isdigit() or bad[3] <= good[3]:
            assert await replica.cache.store(LATER) is StoreOutcome.STORED, position
            assert (await replica.cache.read(KEY)).token == LATER
            redis_server.run("SET", NAME, good)
    assert len(replica.refused) == len(good)


@pytest.mark.parametrize("length", [0, 1, 5, 8, 25, 30, 40, 60, -1])
async def test_truncated(redis_server: RedisServer, replica: RedisReplica, length: int) -> None:
    """A truncated value is a miss that is reported; the value is removed and does not block a new one."""
    await replica.cache.store(LATER)
    redis_server.run("SET", NAME, redis_server.run("GET", NAME)[:length])
    assert (await replica.cache.read(KEY)).token is None
    assert replica.refused == ["integrity"]
    assert redis_server.run("EXISTS", NAME) == 0
    assert await replica.cache.store(TOKEN) is StoreOutcome.STORED


@pytest.mark.parametrize(
    "command", [("LPUSH", "x"), ("HSET", "f", "x"), ("SADD", "x"), ("ZADD", "1", "x"), ("XADD", "*", "f", "x")]
)
async def test_wrong_type(redis_server: RedisServer, replica: RedisReplica, command: tuple[str, ...]) -> None:
    """Keys of the wrong type count as absent, and are replaced by the next write."""
    word, *arguments = command
    for kind in ("token:*", "epoch", "hold", "replaced", "lease:*"):
        redis_server.run(word, f"itb:{{{ORG}/default}}:{kind}", *arguments)
    entry = await replica.cache.read(KEY)
    assert (entry.token, entry.epoch, entry.hold) == (None, 0, 0)
    assert await replica.cache.store(TOKEN) is StoreOutcome.STORED
    assert (await replica.cache.read(KEY)).token == TOKEN
    assert await replica.purge_log.raise_epoch(REF, 0) == 1
    await replica.cache.hold(REF, 60)
    assert (await replica.cache.read(KEY)).hold > 59


@pytest.mark.parametrize("text", [b"", b"x", b"-3", b"1e9", b" 4", b"9" * 16, "٣".encode()])
async def test_epoch_that_is_not_a_number(redis_server: RedisServer, replica: RedisReplica, text: bytes) -> None:
    """A damaged epoch counts as lost, and the next purge fixes it."""
    redis_server.run("SET", f"itb:{{{ORG}/default}}:epoch", text)
    assert (await replica.cache.read(KEY)).epoch == 0
    assert await replica.purge_log.raise_epoch(REF, 4) == 5
    assert (await replica.cache.read(KEY)).epoch == 5


async def test_epoch_outlives_a_flush(redis_server: RedisServer, replica: RedisReplica) -> None:
    """A replica that remembers an epoch restores it after a flush, and older tokens are not stored."""
    assert await replica.purge_log.raise_epoch(REF, 0) == 1
    redis_server.flush()
    assert await replica.purge_log.raise_epoch(REF, 1) == 2
    redis_server.flush()
    assert await replica.cache.store(replace(TOKEN, epoch=2)) is StoreOutcome.STORED
    assert await replica.cache.store(replace(LATER, epoch=1)) is StoreOutcome.STALE_EPOCH


async def test_epoch_that_was_lost_alone(redis_server: RedisServer, replica: RedisReplica) -> None:
    """If Redis lost the epoch but not the token, the epoch is read from the token."""
    await replica.cache.store(replace(TOKEN, epoch=6))
    redis_server.run("DEL", f"itb:{{{ORG}/default}}:epoch")
    entry = await replica.cache.read(KEY)
    assert (entry.epoch, entry.token) == (6, replace(TOKEN, epoch=6))
    assert await replica.cache.store(replace(LATER, epoch=5)) is StoreOutcome.OLDER


async def test_key_rotation(redis_server: RedisServer, replica: RedisReplica) -> None:
    """The new first key seals and the old one still opens; without the key a value is a miss and stays for others."""
    await replica.cache.store(TOKEN)
    async with redis_replica(redis_server.url, key_ring("k2", "k1")) as rotated:
        assert (await rotated.cache.read(KEY)).token == TOKEN
        await rotated.cache.store(LATER)
        assert redis_server.run("GET", NAME).startswith(b"itb1;k2;")
    # A replica that does not have the new key yet.
    assert (await replica.cache.read(KEY)).token is None
    assert redis_server.run("EXISTS", NAME) == 1
    assert replica.refused == ["unknown_key"]


async def test_unknown_key_is_compared_like_any_other(redis_server: RedisServer, replica: RedisReplica) -> None:
    """A replica without the key never overwrites a newer token; a later token it stores, so that it ends on its own."""
    async with redis_replica(redis_server.url, dated_key_ring("k2", "k1")) as ahead:
        await ahead.cache.store(LATER)
        before = redis_server.run("GET", NAME)
        assert await replica.cache.store(TOKEN) is StoreOutcome.OLDER
        assert await replica.cache.store(LATER) is StoreOutcome.OLDER
        assert redis_server.run("GET", NAME) == before
        assert await replica.cache.store(LATEST) is StoreOutcome.STORED
        assert (await ahead.cache.read(KEY)).token == LATEST


async def test_a_token_of_an_older_key_is_sealed_again(redis_server: RedisServer, replica: RedisReplica) -> None:
    """A token that an older key sealed is sealed with the first key when it is read, and its life stays as it is."""
    await replica.cache.store(TOKEN)
    end = redis_server.run("PEXPIRETIME", NAME)
    async with redis_replica(redis_server.url, dated_key_ring("k2", "k1")) as rotated:
        assert (await rotated.cache.read(KEY)).token == TOKEN
        resealed = redis_server.run("GET", NAME)
        assert resealed.startswith(b"itb1;k2;")
        assert (await rotated.cache.read(KEY)).token == TOKEN
        assert redis_server.run("GET", NAME) == resealed
    assert redis_server.run("PEXPIRETIME", NAME) == end


@pytest.mark.parametrize("ring", [dated_key_ring("k1", "k2"), key_ring("k1", "k2"), key_ring("k2", "k1")], ids=str)
async def test_a_token_of_a_newer_key_stays(redis_server: RedisServer, replica: RedisReplica, ring: KeyRing) -> None:
    """The seal of a newer key, or of a key without a date, is never replaced: no loop of two replicas."""
    await replica.cache.store(TOKEN)
    replica.ring = ring
    other = dated_key_ring("k2") if ring.sealing_id == "k1" else key_ring("k1")
    async with redis_replica(redis_server.url, other) as writer:
        await writer.cache.store(LATER)
    before = redis_server.run("GET", NAME)
    assert (await replica.cache.read(KEY)).token == LATER
    assert redis_server.run("GET", NAME) == before


async def test_sealing_again_never_overwrites(redis_server: RedisServer, replica: RedisReplica) -> None:
    """A token that another replica stored after the read is not overwritten by the older one under a new key."""
    await replica.cache.store(TOKEN)
    async with redis_replica(redis_server.url, dated_key_ring("k2", "k1")) as rotated:
        old = redis_server.run("GET", NAME)
        await replica.cache.store(LATER)
        newer = redis_server.run("GET", NAME)
        again = seal(TOKEN, rotated.ring, NAME)
        assert await rotated.client.run("reseal", RESEAL, [NAME], [old, again]) == 0
        assert redis_server.run("GET", NAME) == newer
        redis_server.run("DEL", NAME)
        assert await rotated.client.run("reseal", RESEAL, [NAME], [old, again]) == 0
        assert redis_server.run("EXISTS", NAME) == 0


async def test_a_purged_token_is_not_sealed_again(redis_server: RedisServer, replica: RedisReplica) -> None:
    """A token of a former epoch stays as it is, and is not served."""
    await replica.cache.store(TOKEN)
    await replica.purge_log.raise_epoch(REF, 0)
    replica.ring = dated_key_ring("k2", "k1")
    assert (await replica.cache.read(KEY)).token is None
    assert redis_server.run("GET", NAME).startswith(b"itb1;k1;")


async def test_a_changed_ring_seals_at_once(redis_server: RedisServer, replica: RedisReplica) -> None:
    """The first key of a ring that came into force seals the next token."""
    replica.ring = dated_key_ring("k2", "k1")
    await replica.cache.store(TOKEN)
    assert redis_server.run("GET", NAME).startswith(b"itb1;k2;")


async def test_wrong_key(redis_server: RedisServer, replica: RedisReplica) -> None:
    """A different key under the same id opens nothing, and does not prevent its owner from storing."""
    await replica.cache.store(LATER)
    async with redis_replica(redis_server.url, key_ring("k1", salt=99)) as stranger:
        assert (await stranger.cache.read(KEY)).token is None
        assert stranger.refused == ["integrity"]
        assert await stranger.cache.store(TOKEN) is StoreOutcome.STORED
        assert (await stranger.cache.read(KEY)).token == TOKEN


async def test_newer_format_is_not_touched(redis_server: RedisServer, replica: RedisReplica) -> None:
    """A value that a newer release wrote is a miss for this one, and is neither removed nor overwritten."""
    newer = b"itb2;whatever that will be"
    redis_server.run("SET", NAME, newer, "PX", 86_400_000)
    assert (await replica.cache.read(KEY)).token is None
    assert replica.refused == ["version"]
    assert await replica.cache.store(TOKEN) is StoreOutcome.OLDER
    assert redis_server.run("GET", NAME) == newer


async def test_older_format_is_replaced(redis_server: RedisServer, replica: RedisReplica) -> None:
    """A value that an older release wrote is a miss, and is replaced by a token of this one."""
    redis_server.run("SET", NAME, b"itb0;k1;9999999999999;0;whatever that was")
    assert (await replica.cache.read(KEY)).token is None
    assert replica.refused == ["version"]
    assert await replica.cache.store(TOKEN) is StoreOutcome.STORED


@pytest.mark.parametrize(
    "change",
    [
        {"org": OTHER_KEY.ref.org},
        {"credential": "second"},
        {"selection": "= openid"},
        {"epoch": 1},
        {"expires_at": NOW + 5},
        {"token": ""},
        {"minted_at": "now"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_contradiction(redis_server: RedisServer, replica: RedisReplica, change: dict[str, object]) -> None:
    """A record that opens but does not match its key or its header is a miss that is reported."""
    expiry = int(TOKEN.expires_at * 1000)
    header = f"itb1;k1;{expiry};0;".encode()
    record = json.dumps(json.loads(encode_token(TOKEN)) | change).encode()
    redis_server.run("SET", NAME, header + sealed(key_ring("k1"), record, header))
    assert (await replica.cache.read(KEY)).token is None
    assert replica.refused == ["contradiction"]
    assert redis_server.run("EXISTS", NAME) == 0


async def test_discarding_keeps_a_good_value(redis_server: RedisServer, replica: RedisReplica) -> None:
    """A reader that found a broken value does not remove the good one that replaced it meanwhile."""
    redis_server.run("SET", NAME, b"broken")
    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(replica.cache.read(KEY))
        tasks.create_task(replica.cache.store(TOKEN))
    assert (await replica.cache.read(KEY)).token == TOKEN


async def test_cancelled_reads_never_cross(redis_server: RedisServer, replica: RedisReplica) -> None:
    """After any number of cancellations at random moments each reader gets its own tenant's token, with no alarm."""
    tokens = [token_of(key, f"eyJ.{index}", minted_at=NOW) for index, key in enumerate(ALL_KEYS)]
    for token in tokens:
        await replica.cache.store(token)
    for _ in range(60):
        readers = [(token, asyncio.create_task(replica.cache.read(token.key))) for token in tokens * 8]
        for _, reader in random.sample(readers, len(readers) // 2):
            asyncio.get_running_loop().call_later(random.uniform(0, 0.004), reader.cancel)
        entries = await asyncio.gather(*(reader for _, reader in readers), return_exceptions=True)
        for (token, _), entry in zip(readers, entries, strict=True):
            if isinstance(entry, BaseException):
                assert isinstance(entry, asyncio.CancelledError)
            else:
                assert entry.token == token
    assert replica.refused == []
    assert all([(await replica.cache.read(token.key)).token == token for token in tokens])
    # The extra one is the connection that sends this command.
    assert len(redis_server.run("CLIENT", "LIST", "TYPE", "normal").splitlines()) <= 51


async def test_burst_larger_than_the_pool(replica: RedisReplica) -> None:
    """A burst of calls far larger than the pool waits for connections, and no call fails."""
    await replica.cache.store(TOKEN)
    entries = await asyncio.gather(*(replica.cache.read(KEY) for _ in range(300)))
    assert all(entry.token == TOKEN for entry in entries)


def sealed(ring: KeyRing, record: bytes, header: bytes) -> bytes:
    """`record` as this ring seals it for `NAME`."""
    nonce = os.urandom(12)
    return nonce + ring.seal(nonce, record, NAME.encode() + b"\0" + header)
