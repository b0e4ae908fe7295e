"""A deadline that a busy event loop does not bring nearer."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.adapters.redis import patience as module
from app.adapters.redis.patience import patience


def keep_loop_busy(seconds: float) -> None:
    """Hold the event loop, as a burst of requests does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def test_what_does_not_end_is_broken_off_in_time() -> None:
    """On a loop that is idle the deadline is the one that was asked for."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with patience(0.2):
            await asyncio.Event().wait()
    assert 0.19 <= time.monotonic() - began < 1


async def test_an_answer_that_waits_for_a_busy_loop_is_not_late() -> None:
    """Work that needs ten turns of a loop that is held for 80 ms in each ends well, although that is 0.8 s."""
    async with patience(0.2):
        for _ in range(10):
            await asyncio.sleep(0)
            keep_loop_busy(0.08)
            await asyncio.sleep(0.001)


async def test_a_loop_that_is_busy_for_ever_has_an_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the wall clock nothing lasts longer than the longest time."""
    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.5)
    began = time.monotonic()

    async def go_on_for_ever() -> None:
        async with patience(0.2):
            while True:
                await asyncio.sleep(0.001)
                keep_loop_busy(0.12)

    with pytest.raises(TimeoutError):
        await go_on_for_ever()
    assert time.monotonic() - began < 2
