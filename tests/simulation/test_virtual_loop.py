"""The virtual loop runs what the simulated service does in the order in which the loop of asyncio would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.simulation.virtual_loop import DeadlockError, run_virtually


@pytest.mark.parametrize("run", [asyncio.run, run_virtually])
def test_callbacks_and_tasks_run_in_the_order_in_which_they_were_registered(
    run: Callable[[Coroutine[Any, Any, list[str]]], list[str]],
) -> None:
    """Those that may be cancelled, too; and one that is cancelled never runs."""

    async def main() -> list[str]:
        loop, order = asyncio.get_running_loop(), list[str]()

        async def work() -> None:
            order.append("task begins")
            await asyncio.sleep(0)
            order.append("task ends")

        loop.call_soon(order.append, "callback")
        loop.call_soon(order.append, "cancelled").cancel()
        await loop.create_task(work())
        return order

    assert run(main()) == ["callback", "task begins", "task ends"]


@pytest.mark.parametrize("run", [asyncio.run, run_virtually])
def test_a_time_limit_that_is_over_ends_the_work_at_its_first_pause(
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    """Not after all the work that takes no time."""

    async def main() -> None:
        async with asyncio.timeout(0.0):
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        run(main())


def test_a_task_that_nothing_wakes_is_an_error() -> None:
    """A lost wake-up ends the run with an error, instead of hanging it."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        run_virtually(main())


def test_the_error_of_a_run_outlives_the_end_of_its_tasks() -> None:
    """The other tasks are cancelled, and one that never ends does not hide the error."""
    cancelled = list[str]()

    async def never_ends() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("other")
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.get_running_loop().create_task(never_ends())
        await asyncio.sleep(0)
        assert not task.done()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_virtually(main())
    assert cancelled == ["other"]
