"""Background tasks live on, and end with their owner."""

from __future__ import annotations

import asyncio

import pytest

from app.domain.events import TaskFailed
from app.process import supervisor
from app.process.supervisor import Supervisor
from tests.fakes import RecordingSink


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_SECONDS", 0.001)


async def test_a_task_that_fails_is_told_by_its_type_and_begun_anew() -> None:
    """The error's text, which may hold a secret, is told to nobody; the other task runs on."""
    sink, runs, third = RecordingSink(), 0, asyncio.Event()

    async def crash() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            third.set()
            await asyncio.Event().wait()
        raise RuntimeError("canary-secret")

    async def live() -> None:
        await asyncio.Event().wait()

    tasks = Supervisor(sink)
    tasks.start("crashing", crash)
    tasks.start("living", live)
    await asyncio.wait_for(third.wait(), 5.0)
    assert sink.events == [TaskFailed("crashing", "RuntimeError")] * 2
    assert "canary" not in repr(sink.events)
    await tasks.aclose()


async def test_a_task_that_ends_is_begun_anew_without_a_word() -> None:
    """An end is no failure."""
    sink, runs, third = RecordingSink(), 0, asyncio.Event()

    async def end() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            third.set()

    tasks = Supervisor(sink)
    tasks.start("ending", end)
    await asyncio.wait_for(third.wait(), 5.0)
    await tasks.aclose()
    assert sink.events == []


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
    tasks = Supervisor(RecordingSink())
    tasks.start("running", run)
    await asyncio.sleep(0)
    await tasks.aclose()
    assert cleaned
    assert asyncio.all_tasks() == before
