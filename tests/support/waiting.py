"""Waiting, with a deadline, for what another task or process does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Check `true()` every millisecond; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError("timed out")
        await asyncio.sleep(0.001)


async def until_answered(true: Callable[[], Awaitable[bool]], seconds: float, every: float = 0.1) -> None:
    """Ask `true()` every `every` seconds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not await true():
        if time.monotonic() > end:
            raise AssertionError("timed out")
        await asyncio.sleep(every)
