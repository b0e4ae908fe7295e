"""Background tasks are restarted, and end with their owner."""

from __future__ import annotations

import asyncio

import pytest

from app.domain.events import TaskFailed
from app.process.supervisor import Supervisor, growing_delay, supervised
from tests.support.recorded_events import RecordedEvents

QUICKLY = 0.001


async def test_a_task_that_fails_is_reported_by_its_type_and_run_again() -> None:
    """The error's text, which may contain a secret, is not in the event; the other task keeps running."""
    sink, runs, third = RecordedEvents(), 0, asyncio.Event()

    async def crash() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            third.set()
            await asyncio.Event().wait()
        raise RuntimeError("canary-secret")

    async def live() -> None:
        await asyncio.Event().wait()

    tasks = Supervisor(sink, QUICKLY)
    tasks.start("crashing", crash)
    tasks.start("living", live)
    await asyncio.wait_for(third.wait(), 5.0)
    assert sink.all == [TaskFailed("crashing", "RuntimeError")] * 2
    assert "canary" not in repr(sink.all)
    await tasks.aclose()


async def test_a_task_that_ends_is_run_again_without_an_event() -> None:
    """An end is not a failure."""
    sink, runs, third = RecordedEvents(), 0, asyncio.Event()

    async def end() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            third.set()

    tasks = Supervisor(sink, QUICKLY)
    tasks.start("ending", end)
    await asyncio.wait_for(third.wait(), 5.0)
    await tasks.aclose()
    assert sink.all == []


async def test_the_end_waits_for_the_tasks_clean_up() -> None:
    """Closing cancels all tasks and returns when they are done."""
    cleaned = False

    async def run() -> None:
        nonlocal cleaned
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned = True

    before = asyncio.all_tasks()
    tasks = Supervisor(RecordedEvents())
    tasks.start("running", run)
    await asyncio.sleep(0)
    await tasks.aclose()
    assert cleaned
    assert asyncio.all_tasks() == before


async def test_delays_are_asked_for_by_the_failures_in_a_row() -> None:
    """A run without a failure starts the count again, and an expected failure counts without an event."""
    sink, delays = RecordedEvents(), list[float]()
    ends: list[Exception | None] = [ValueError(), KeyError(), None, KeyError(), ValueError(), None]

    async def run() -> None:
        if not ends:
            raise asyncio.CancelledError
        if (end := ends.pop(0)) is not None:
            raise end

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    with pytest.raises(asyncio.CancelledError):
        await supervised("task", run, sink, float, expected=KeyError, sleep=sleep)
    assert delays == [1, 2, 0, 1, 2, 0]
    assert sink.all == [TaskFailed("task", "ValueError")] * 2


@pytest.mark.parametrize(
    ("failures", "chance", "seconds"),
    [(1, 1.0, 2.0), (2, 1.0, 4.0), (3, 0.5, 6.0), (4, 0.0, 8.0), (5, 1.0, 30.0), (10_000, 0.0, 15.0)],
)
def test_delays_double_up_to_the_longest_with_jitter(failures: int, chance: float, seconds: float) -> None:
    """Chance shortens a delay by up to a half; no number of failures overflows."""
    assert growing_delay(failures, 2.0, 30.0, chance) == seconds


async def test_a_task_that_runs_once_is_not_run_again() -> None:
    """Its failure is reported by its type, and closing ends it if it still runs."""
    sink, ended, cancelled = RecordedEvents(), asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        ended.set()
        raise RuntimeError("canary-secret")

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    tasks = Supervisor(sink, QUICKLY)
    tasks.start_once("failing", fail)
    tasks.start_once("hanging", hang)
    await asyncio.wait_for(ended.wait(), 5.0)
    await asyncio.sleep(5 * QUICKLY)
    await tasks.aclose()
    assert sink.all == [TaskFailed("failing", "RuntimeError")]
    assert cancelled.is_set()
