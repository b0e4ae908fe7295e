"""Background tasks with a name and an owner: restarted when they fail, ended when the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.domain.events import TaskFailed
from app.ports import EventSink


class Supervisor:
    """Owns the background tasks of the process.

    Args:
        sink: Notified of tasks that failed.
        restart_seconds: Seconds until a task that ended or failed is run again.

    """

    def __init__(self, sink: EventSink, restart_seconds: float = 1.0) -> None:
        self._sink = sink
        self._restart_seconds = restart_seconds
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run()` until `aclose`: when it ends or fails, it is run again."""
        task = supervised(name, run, self._sink, lambda _: self._restart_seconds)
        self._tasks.append(asyncio.create_task(task, name=name))

    def start_once(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run()` once, until `aclose` at the latest; a failure is reported, and not repeated."""
        self._tasks.append(asyncio.create_task(self._once(name, run), name=name))

    async def _once(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except Exception as error:  # noqa: BLE001  # operators must see it
            self._sink.emit(TaskFailed(name, type(error).__name__))

    async def aclose(self) -> None:
        """Cancel all tasks and wait for their end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def supervised(
    name: str,
    run: Callable[[], Awaitable[None]],
    sink: EventSink,
    delay: Callable[[int], float],
    *,
    expected: type[Exception] | tuple[type[Exception], ...] = (),
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run `run()` again and again, whatever happens to it, until cancelled.

    Args:
        name: The name of the task in `TaskFailed`.
        run: The work; an exception is a failure.
        sink: Notified of unexpected failures.
        delay: Seconds to wait, by the number of failed runs in a row; 0 after a run without a failure.
        expected: Failures that `run` reports itself.
        sleep: Waits for seconds.

    """
    failures = 0
    while True:
        try:
            await run()
            failures = 0
        except expected:
            failures += 1
        except Exception as error:  # noqa: BLE001  # the task must continue after any error, and operators must see it
            failures += 1
            sink.emit(TaskFailed(name, type(error).__name__))
        await sleep(delay(failures))


def growing_delay(failures: int, first: float, longest: float, chance: float) -> float:
    """Seconds until the next attempt: exponential back-off with jitter.

    Args:
        failures: The number of failures in a row, at least 1.
        first: Seconds after the first failure; doubled with each further failure.
        longest: The longest time, in seconds.
        chance: From 0 to 1; shortens the delay by up to a half, so that replicas spread.

    """
    return min(longest, first * 2.0 ** min(failures - 1, 10)) * (0.5 + 0.5 * chance)
