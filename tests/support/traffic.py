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
    """The results of the requests.

    Args:
        replies: All answers, each with the monotonic time of its request.
        broken: Names of the errors of requests without an answer.

    """

    replies: list[tuple[float, Reply]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def failures(self) -> list[object]:
        """All errors, and all answers other than 200."""
        return [*self.broken, *((reply.status, reply.body) for _, reply in self.replies if reply.status != 200)]

    def since(self, began: float) -> list[Reply]:
        """The answers to requests sent after a monotonic time."""
        return [reply for at, reply in self.replies if at >= began]


@contextlib.asynccontextmanager
async def traffic(ask: Callable[[int], Awaitable[Reply]], per_second: float) -> AsyncIterator[Traffic]:
    """Send requests at a steady rate, without waiting for answers; at the end wait for all answers.

    Args:
        ask: Sends one request; its argument is the number of the request.
        per_second: Requests per second.

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
