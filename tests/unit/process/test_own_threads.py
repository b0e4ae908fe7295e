"""Blocking work runs in threads of its own: bounded, with a deadline, and never awaited at shutdown."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from app.process.own_threads import OwnThreads, ThreadsBusyError, ThreadsClosedError

pytestmark = pytest.mark.timeout(20)


class Hanging:
    """Work that hangs until it is released."""

    def __init__(self) -> None:
        self.runs = 0
        self.started = asyncio.Event()
        self.released = threading.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> int:
        """Hang, then return the number of runs so far."""
        self.runs += 1
        self._loop.call_soon_threadsafe(self.started.set)
        self.released.wait(15)
        return self.runs


@pytest.fixture
async def hanging() -> AsyncIterator[Hanging]:
    """Work that ends with the test at the latest."""
    work = Hanging()
    yield work
    work.released.set()


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., OwnThreads]]:
    """A function that creates threads, which are closed after the test."""
    made: list[OwnThreads] = []

    def make(threads: int = 1, waiting: int = 1, deadline: float | None = None) -> OwnThreads:
        made.append(OwnThreads("test", threads=threads, waiting=waiting, deadline=deadline))
        return made[-1]

    yield make
    for threads in made:
        threads.close()


async def test_work_runs_in_a_named_thread(make: Callable[..., OwnThreads]) -> None:
    """The result comes from a thread of the pool, and an error reaches the caller unchanged."""
    threads = make()
    assert (await threads.run(lambda: threading.current_thread().name)).startswith("test")
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)


async def test_more_work_than_may_wait_fails_at_once(make: Callable[..., OwnThreads], hanging: Hanging) -> None:
    """The bound counts running and waiting work; when it ends, there is a place again."""
    threads = make(threads=1, waiting=1)
    first = asyncio.create_task(threads.run(hanging))
    await hanging.started.wait()
    second = asyncio.create_task(threads.run(lambda: "second"))
    await asyncio.sleep(0)
    with pytest.raises(ThreadsBusyError):
        await threads.run(lambda: "third")
    hanging.released.set()
    assert (await first, await second) == (1, "second")
    assert await threads.run(lambda: "third") == "third"


async def test_the_deadline_includes_the_wait_for_a_thread(make: Callable[..., OwnThreads], hanging: Hanging) -> None:
    """Running and waiting work both time out."""
    threads = make(deadline=0.05)
    results = await asyncio.gather(threads.run(hanging), threads.run(hanging), return_exceptions=True)
    assert [type(result) for result in results] == [TimeoutError, TimeoutError]


async def test_work_that_was_given_up_keeps_its_place_and_is_not_started(
    make: Callable[..., OwnThreads], hanging: Hanging
) -> None:
    """While a thread hangs the queue cannot grow, however many callers time out; later the work is skipped."""
    threads = make(threads=1, waiting=2)
    given_up = [asyncio.create_task(threads.run(hanging)) for _ in range(3)]
    await hanging.started.wait()
    for task in given_up:
        task.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
    with pytest.raises(ThreadsBusyError):
        await threads.run(lambda: None)
    hanging.released.set()
    async with asyncio.timeout(10):
        while True:
            try:
                await threads.run(lambda: None)
                break
            except ThreadsBusyError:
                await asyncio.sleep(0.01)
    assert hanging.runs == 1


async def test_threads_of_other_pools_are_free_while_one_hangs(
    make: Callable[..., OwnThreads], hanging: Hanging
) -> None:
    """Work that hangs affects its own threads only."""
    stuck, free = make(), make()
    task = asyncio.create_task(stuck.run(hanging))
    await hanging.started.wait()
    assert await free.run(lambda: "free") == "free"
    hanging.released.set()
    await task


async def test_closing_waits_for_nothing(make: Callable[..., OwnThreads], hanging: Hanging) -> None:
    """Waiting work fails as closed, running work is not interrupted, and new work is refused."""
    threads = make(waiting=5)
    running = asyncio.create_task(threads.run(hanging))
    await hanging.started.wait()
    waiting = asyncio.create_task(threads.run(hanging))
    await asyncio.sleep(0)
    threads.close()
    for closed in (waiting, threads.run(hanging)):
        with pytest.raises(ThreadsClosedError):
            await closed
    assert not running.done()
    hanging.released.set()
    assert await running == 1


async def test_an_error_that_no_one_waits_for_is_not_logged(
    make: Callable[..., OwnThreads], hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    """Work that fails after its deadline leaves no message of asyncio's."""

    def fail() -> None:
        hanging()
        raise ValueError

    threads = make(deadline=0.05)
    with pytest.raises(TimeoutError):
        await threads.run(fail)
    hanging.released.set()
    assert await make(deadline=5.0).run(lambda: 1) == 1
    async with asyncio.timeout(10):
        while True:
            try:
                await threads.run(lambda: None)
                break
            except (ThreadsBusyError, TimeoutError):
                await asyncio.sleep(0.01)
    assert caplog.records == []
