"""A steady stream of requests while something else happens."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from tests.support.wire import Reply


@dataclass
class Traffic:
    """What became of the requests.

    Args:
        replies: All answers, each with the monotonic time at which it was asked for.
        broken: Names of errors of requests that got no answer.

    """

    replies: list[tuple[float, Reply]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def failures(self) -> list[object]:
        """All that is not a 200."""
        return [*self.broken, *((reply.status, reply.body) for _, reply in self.replies if reply.status != 200)]

    def since(self, began: float) -> list[Reply]:
        """The answers to what was asked after a monotonic time."""
        return [reply for at, reply in self.replies if at >= began]


@contextlib.asynccontextmanager
async def traffic(ask: Callable[[int], Awaitable[Reply]], per_second: float) -> AsyncIterator[Traffic]:
    """Ask evenly, whether or not answers come; at the end wait for all of them.

    Args:
        ask: Sends a request; gets its number.
        per_second: How often.

    """
    seen = Traffic()
    tasks: set[asyncio.Task[None]] = set()

    async def one(number: int) -> None:
        began = time.monotonic()
        try:
            seen.replies.append((began, await ask(number)))
        except (OSError, TimeoutError) as error:
            seen.broken.append(type(error).__name__)

    async def stream() -> None:
        began, number = time.monotonic(), 0
        while True:
            task = asyncio.create_task(one(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
            await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))

    streaming = asyncio.create_task(stream())
    try:
        yield seen
    finally:
        streaming.cancel()
        await asyncio.gather(streaming, *tasks, return_exceptions=True)
