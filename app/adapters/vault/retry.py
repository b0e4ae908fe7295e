"""Repeats an attempt that Vault refuses only for a moment, within the deadline of its call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.adapters.vault.vault_problem import PASSING, VaultProblem, VaultProblemError
from app.process.supervisor import growing_delay

T = TypeVar("T")

_FIRST_PAUSE = 0.1
"""Seconds between the first two attempts; then twice as long each time."""

_MAX_PAUSE = 1.0
"""The longest pause in seconds, unless Vault asks for a longer one."""


async def retried(attempt: Callable[[], Awaitable[T]], until: float, draw: Callable[[], float]) -> T:
    """Make an attempt, and repeat it with growing pauses as long as its problem is a passing one.

    Args:
        attempt: Makes one attempt, which ends by `until`.
        until: The deadline, by the clock of the event loop.
        draw: Random numbers from 0 to 1, for the jitter of the pauses.

    Raises:
        VaultProblemError: The problem of the last attempt; if time ran out while repeating, that of the one before.

    """
    now = asyncio.get_running_loop().time
    failures, passing = 0, None
    try:
        while True:
            try:
                return await attempt()
            except VaultProblemError as error:
                if error.problem is VaultProblem.SLOW and passing is not None:
                    raise passing from None
                if error.problem not in PASSING:
                    raise
                passing, failures = error, failures + 1
            pause = max(growing_delay(failures, _FIRST_PAUSE, _MAX_PAUSE, draw()), passing.retry_after or 0.0)
            if now() + pause >= until:
                raise passing
            await asyncio.sleep(pause)
    finally:
        del passing  # The traceback of the error has this frame: a cycle.
