"""A token that is in Redis and not in memory, against one raw GET through redis-py's async client.

A first broker, in this process, puts the tokens of many orgs into Redis; a second one vends each of them once, with the
client, the sealing and the single flight of the real broker. One call follows the other, so both are times of an
answer.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

import redis.asyncio
import uvloop

from app.bootstrap.broker import assembled
from app.domain.names import CredentialRef, TokenKey, parse_org
from app.settings.settings import Settings, read_settings
from benchmarks.load import Effort
from benchmarks.report import Row, at_most
from benchmarks.scene import org, scene
from benchmarks.servers import SERVER_CORE, free_port, on_core

_CALLS = 100
"""In each round."""


def measure(effort: Effort) -> list[Row]:
    """The row of the hit."""
    keys = [TokenKey(CredentialRef(parse_org(org(number)))) for number in range(_CALLS * effort.rounds)]
    with scene(len(keys)) as stage:
        redis_port = stage.start_redis()
        settings = read_settings(stage.broker_command(free_port())[1])
        with on_core(SERVER_CORE):
            hits, raw = uvloop.run(_times(settings, redis_port, keys))
    ratio = statistics.median(hit / get for hit, get in zip(hits, raw, strict=True))
    seen = f"{1e6 * statistics.median(hits):.0f} against {1e6 * statistics.median(raw):.0f} µs"
    reason = (
        "The read is one command, a script of three keys, which takes redis-py and Redis half as long again as a GET;"
        " the seal, the single flight, and the events of the look-ups and of the call come on top."
    )
    return [Row("GET of a token from Redis, not in memory", "raw redis-py GET", at_most(2.5), ratio, seen, reason)]


async def _times(settings: Settings, port: int, keys: Sequence[TokenKey]) -> tuple[list[float], list[float]]:
    """Seconds of a hit and of a raw GET, for each round."""
    async with assembled(settings) as first:
        for key in keys:
            await first.services.vendor.vend(key)
    hits, gets = [], []
    async with assembled(settings) as second, redis.asyncio.Redis(port=port) as client:
        size = max([await client.strlen(name) for name in await client.keys("*:token:*")])
        names = [f"raw:{number}" for number in range(len(keys))]
        for name in names:  # plain strings of the size of a sealed token
            await client.set(name, b"x" * size)
        for at in range(0, len(keys), _CALLS):
            hits.append(await _mean([_vend(second.services.vendor.vend, key) for key in keys[at : at + _CALLS]]))
            gets.append(await _mean([_get(client, name) for name in names[at : at + _CALLS]]))
    return hits, gets


def _vend(vend: Callable[[TokenKey], Awaitable[object]], key: TokenKey) -> Callable[[], Awaitable[object]]:
    return lambda: vend(key)


def _get(client: redis.asyncio.Redis, name: str) -> Callable[[], Awaitable[object]]:
    return lambda: client.get(name)


async def _mean(calls: Sequence[Callable[[], Awaitable[object]]]) -> float:
    began = time.perf_counter()
    for call in calls:
        await call()
    return (time.perf_counter() - began) / len(calls)
