"""Waiting for what another task or process does, with an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Look every millisecond whether `true()`; fails after `seconds`."""
    for _ in range(int(seconds * 1000)):
        if true():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("what was waited for did not happen")


async def until_answered(true: Callable[[], Awaitable[bool]], seconds: float, every: float = 0.1) -> None:
    """Ask `true()` again and again, `every` seconds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not await true():
        if time.monotonic() > end:
            raise AssertionError("what was waited for did not happen")
        await asyncio.sleep(every)
