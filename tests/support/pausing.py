"""A method that waits at its end, so that a test can do something meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


class Pausing:
    """A method that does its work and returns only when it may.

    Args:
        inner: The method.

    """

    def __init__(self, inner: Callable[..., Awaitable[Any]]) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self._inner = inner

    def method(self) -> Callable[..., Awaitable[Any]]:
        """What to put in place of it."""

        async def pausing(*args: Any, **options: Any) -> Any:
            self.begun.set()
            try:
                return await self._inner(*args, **options)
            finally:
                await self.may_end.wait()

        return pausing
