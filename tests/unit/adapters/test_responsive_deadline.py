"""A deadline that a busy event loop does not shorten."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.adapters.redis import responsive_deadline as module
from app.adapters.redis.responsive_deadline import ResponsiveDeadline


def keep_loop_busy(seconds: float) -> None:
    """Block the event loop, as a burst of requests does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def test_work_that_does_not_end_is_cancelled_in_time() -> None:
    """On an idle loop the deadline is the requested one."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with ResponsiveDeadline(0.2):
            await asyncio.Event().wait()
    assert 0.19 <= time.monotonic() - began < 1


async def test_an_answer_that_waits_for_a_busy_loop_is_not_late() -> None:
    """Work that needs ten turns of a loop, each blocked for 80 ms, succeeds, although that takes 0.8 s."""
    async with ResponsiveDeadline(0.2):
        for _ in range(10):
            await asyncio.sleep(0)
            keep_loop_busy(0.08)
            await asyncio.sleep(0.001)


async def test_the_wait_ends_even_if_the_loop_is_always_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the wall clock, nothing takes longer than the maximum."""
    monkeypatch.setattr(module, "MAX_WALL_SECONDS", 0.5)
    began = time.monotonic()

    async def never_end() -> None:
        async with ResponsiveDeadline(0.2):
            while True:
                await asyncio.sleep(0.001)
                keep_loop_busy(0.12)

    with pytest.raises(TimeoutError):
        await never_end()
    assert time.monotonic() - began < 2
