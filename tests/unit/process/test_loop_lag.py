"""The lag of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from app.process.loop_lag import PERIOD_SECONDS, WINDOW_SECONDS, LoopLag


async def delayed(*delays: float) -> LoopLag:
    """A measurement whose sleeps are too long by these seconds."""
    now, left = 0.0, iter(delays)

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds + _next(left)

    lag = LoopLag(lambda: now, sleep)
    with pytest.raises(asyncio.CancelledError):
        await lag.watch()
    return lag


def _next(left: Iterable[float]) -> float:
    for delay in left:
        return delay
    raise asyncio.CancelledError


async def test_a_sleep_that_is_too_long_is_the_lag() -> None:
    """The longest delay counts, whatever comes after it."""
    assert (await delayed(0.0, 0.4, 0.1)).longest() == pytest.approx(0.4)
    assert (await delayed(0.0, 0.0)).longest() == pytest.approx(0.0)
    assert LoopLag().longest() == 0.0


async def test_the_longest_delay_is_kept_for_a_window_and_then_forgotten() -> None:
    """It is reported for 30 s at least, so that each scrape sees it, and for 60 s at most."""
    one_window = [0.0] * int(WINDOW_SECONDS / PERIOD_SECONDS + 2)
    assert (await delayed(0.4, *one_window)).longest() == pytest.approx(0.4)
    assert (await delayed(0.4, *one_window, *one_window)).longest() == pytest.approx(0.0)
