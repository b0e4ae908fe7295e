"""Background tasks with a name and an owner: restarted when they fail, ended when the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.domain.events import TaskFailed
from app.ports import EventSink

RESTART_SECONDS = 1.0


class Supervisor:
    """Owns the process' background tasks.

    Args:
        sink: Hears of tasks that failed.

    """

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run()` for ever: when it ends or fails, begin it anew after a second."""
        self._tasks.append(asyncio.create_task(self._keep(name, run), name=name))

    async def aclose(self) -> None:
        """Cancel all tasks and wait for their end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await run()
            except Exception as error:  # noqa: BLE001  # whatever it was, the task must live on, and somebody hears of it
                self._sink.emit(TaskFailed(name, type(error).__name__))
            await asyncio.sleep(RESTART_SECONDS)
