"""Which answer of Redis' Sentinels counts, whatever the order in which they come."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from app.adapters.redis.call_failure import Contact
from app.adapters.redis.connections import RedisAccess
from app.adapters.redis.network_failures import SentinelsError
from app.adapters.redis.sentinels import Sentinels
from app.settings.redis_address import Endpoint

NEW, OLD = Endpoint("new", 6379), Endpoint("old", 6379)
SILENT = 60.0
"""Seconds that a Sentinel waits that does not answer in time."""


class ScriptedSentinel:
    """A Sentinel that answers once its turn has come.

    Args:
        primary: What it answers; None if it does not know the primary.
        turns: How often others run before it answers, or `SILENT`.

    """

    def __init__(self, primary: Endpoint | None, turns: float) -> None:
        self.asked = 0
        self._primary = primary
        self._turns = turns

    async def execute_command(self, *_: str) -> list[bytes] | None:
        """Answer."""
        self.asked += 1
        if self._turns == SILENT:
            await asyncio.sleep(SILENT)
        for _turn in range(int(self._turns)):
            await asyncio.sleep(0)
        return None if self._primary is None else [self._primary.host.encode(), str(self._primary.port).encode()]

    async def aclose(self) -> None:
        """There is nothing to close."""


class ScriptedAccess:
    """Makes the clients of scripted Sentinels."""

    def __init__(self, *scripted: ScriptedSentinel) -> None:
        self.scripted = scripted
        self.endpoints = [Endpoint("sentinel", number) for number in range(len(scripted))]

    def pool(self, endpoint: Endpoint, *_: object) -> ScriptedSentinel:
        """The client of one."""
        return self.scripted[endpoint.port]


async def _nothing() -> None:
    """What happens when the primary is another one."""


def asking(*scripted: ScriptedSentinel) -> Sentinels:
    """What asks scripted Sentinels."""
    access = ScriptedAccess(*scripted)
    return Sentinels(cast("RedisAccess", access), Contact(tls=False), access.endpoints, "tokens", _nothing)


@pytest.mark.parametrize(
    "scripted",
    [
        [(OLD, 0), (NEW, 5), (NEW, 9)],
        [(NEW, 0), (OLD, 0), (NEW, 9)],
        [(NEW, 0), (None, 0), (None, 0)],
        [(NEW, 0), (None, SILENT), (None, SILENT)],
        [(None, SILENT), (NEW, 3), (NEW, 0)],
    ],
)
async def test_most_answers_count(scripted: list[tuple[Endpoint | None, float]]) -> None:
    """The primary that most Sentinels name is used, also if another answer comes first or some do not answer."""
    sentinels = asking(*(ScriptedSentinel(*each) for each in scripted))
    assert await asyncio.wait_for(sentinels.primary(), 0.9) == NEW
    await sentinels.aclose()


async def test_none_knows_it() -> None:
    """If no Sentinel knows the primary, the reason says so."""
    sentinels = asking(*(ScriptedSentinel(None, 0) for _ in range(3)))
    with pytest.raises(SentinelsError, match="do not know a primary of that name"):
        await sentinels.primary()
    await sentinels.aclose()


async def test_an_answer_serves_for_a_second() -> None:
    """Many questions at once, and those just after, are one; after a doubt each Sentinel is asked again."""
    scripted = [ScriptedSentinel(NEW, 1) for _ in range(3)]
    sentinels = asking(*scripted)
    await asyncio.gather(*(sentinels.primary() for _ in range(50)))
    await sentinels.primary()
    assert [each.asked for each in scripted] == [1, 1, 1]
    sentinels.doubt()
    await sentinels.primary()
    assert [each.asked for each in scripted] == [2, 2, 2]
    await sentinels.aclose()
