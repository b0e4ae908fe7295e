"""Which node of a cluster owns which slot, as a node says it."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ClusterDownError

from app.adapters.redis.network_failures import FAILURES
from app.settings.redis_address import Endpoint


class SlotOwners:
    """A map from slots to nodes. Immutable, except for what `note` learns.

    Args:
        ranges: First slot, last slot and owner, in any order.

    """

    def __init__(self, ranges: Sequence[tuple[int, int, Endpoint]] = ()) -> None:
        self._ranges = sorted(ranges)
        self._starts = [first for first, _, _ in self._ranges]
        self._noted: dict[int, Endpoint] = {}

    @property
    def primaries(self) -> list[Endpoint]:
        """All owners, each once."""
        return list(dict.fromkeys(owner for _, _, owner in self._ranges))

    def owner(self, key: str) -> Endpoint | None:
        """The node that owns the slot of `key`; None if it is not known."""
        slot = key_slot(key.encode())
        if slot in self._noted:
            return self._noted[slot]
        index = bisect_right(self._starts, slot) - 1
        if index < 0 or slot > self._ranges[index][1]:
            return None
        return self._ranges[index][2]

    def note(self, key: str, owner: Endpoint) -> None:
        """Remember what a node said of the slot of `key`, until the whole map is read again."""
        self._noted[key_slot(key.encode())] = owner


async def read_owners(nodes: Sequence[tuple[Endpoint, Redis]], seconds: float) -> SlotOwners:
    """The map that the first of several nodes answers, asked side by side.

    Args:
        nodes: Where each is, and a client of redis-py for it.
        seconds: For all of them.

    Raises:
        RedisError: None of them has answered with a map; of the first one that failed.

    """
    pending = {asyncio.ensure_future(_read(endpoint, redis)) for endpoint, redis in nodes}
    failure: BaseException = ClusterDownError("there are no nodes to ask")
    try:
        async with asyncio.timeout(seconds):
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for answer in (task.result() for task in done):
                    if isinstance(answer, SlotOwners):
                        return answer
                    failure = answer
    finally:
        for task in pending:
            task.cancel()
    raise failure


async def _read(endpoint: Endpoint, redis: Redis) -> SlotOwners | BaseException:
    """The map, or why there is none."""
    try:
        answer = await redis.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]  # redis-py's
    except FAILURES as error:
        return error
    ranges = [
        (int(first), int(last), Endpoint(_host(primary[0]) or endpoint.host, int(primary[1])))
        for first, last, primary, *_ in answer
    ]
    return SlotOwners(ranges) if ranges else ClusterDownError("no slot has an owner")


def _host(name: bytes | str | None) -> str:
    """The host of a node; empty if it is that of the node that answers (a nil or an empty name)."""
    text = name.decode() if isinstance(name, bytes) else name or ""
    return "" if text == "?" else text
