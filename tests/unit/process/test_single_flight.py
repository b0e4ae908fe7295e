"""One running call per key: shared by all that wait for it, owned by none of them."""

from __future__ import annotations

import asyncio
import gc

import pytest

from app.domain.dependency_errors import ImsUnavailableError, OverloadedError
from app.process.single_flight import SingleFlight


class Work:
    """A call that finishes when the test lets it; returns the number of the call."""

    def __init__(self) -> None:
        self.started = 0
        self.finished = 0
        self.may_finish = asyncio.Event()

    async def __call__(self) -> int:
        """Work."""
        self.started += 1
        number = self.started
        await self.may_finish.wait()
        self.finished += 1
        return number


@pytest.fixture
def calls() -> SingleFlight[str, int]:
    """At most three calls at once."""
    return SingleFlight(3, too_many_calls="Three run already.")


async def joined(calls: SingleFlight[str, int], work: Work, waiters: int) -> list[asyncio.Task[int]]:
    """Tasks that wait for the call "a"."""
    tasks = [asyncio.create_task(calls.join("a", work)) for _ in range(waiters)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert work.started == 1
    return tasks


async def test_all_that_wait_at_once_share_one_call(calls: SingleFlight[str, int]) -> None:
    """A hundred waiters cost one call and all get its result."""
    work = Work()
    tasks = await joined(calls, work, 100)
    assert (len(calls), calls.waiting) == (1, 100)
    work.may_finish.set()
    assert await asyncio.gather(*tasks) == [1] * 100
    assert work.started == 1
    assert (len(calls), calls.waiting) == (0, 0)


async def test_cancelling_one_of_a_hundred_waiters_fails_no_other(calls: SingleFlight[str, int]) -> None:
    """A cancelled waiter, even the first, leaves the other 98 with their result."""
    work = Work()
    tasks = await joined(calls, work, 100)
    tasks[0].cancel()
    tasks[57].cancel()
    work.may_finish.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [index for index, result in enumerate(results) if isinstance(result, asyncio.CancelledError)] == [0, 57]
    assert sum(result == 1 for result in results) == 98


async def test_a_call_finishes_although_all_waiters_were_cancelled(calls: SingleFlight[str, int]) -> None:
    """Cancelling every waiter does not cancel the call."""
    work = Work()
    tasks = await joined(calls, work, 10)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    call = calls.running("a")
    assert call is not None
    work.may_finish.set()
    await call
    assert work.finished == 1


async def test_calls_of_two_keys_do_not_wait_for_each_other(calls: SingleFlight[str, int]) -> None:
    """A call that hangs delays no call of another key."""
    hanging, quick = Work(), Work()
    quick.may_finish.set()
    slow = asyncio.create_task(calls.join("slow", hanging))
    await asyncio.sleep(0)
    assert await calls.join("quick", quick) == 1
    assert not slow.done()
    hanging.may_finish.set()
    await slow


async def test_a_failure_reaches_every_waiter_and_the_next_one_starts_a_new_call(
    calls: SingleFlight[str, int],
) -> None:
    """All waiters get the call's error; it is not kept for later ones."""

    async def crash() -> int:
        await asyncio.sleep(0)
        raise ImsUnavailableError("down")

    results = await asyncio.gather(*(calls.join("a", crash) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, ImsUnavailableError) for result in results)
    work = Work()
    work.may_finish.set()
    assert await calls.join("a", work) == 1


async def test_the_error_of_a_call_without_waiters_is_retrieved(calls: SingleFlight[str, int]) -> None:
    """A call that was started and failed unobserved does not make asyncio report a lost exception."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def crash() -> int:
        raise ImsUnavailableError("down")

    await asyncio.wait({calls.start("a", crash)})
    gc.collect()
    assert reported == []


async def test_one_call_too_many_is_refused_but_those_running_can_be_joined(calls: SingleFlight[str, int]) -> None:
    """The registry has a limit; joining a running call is not limited by it."""
    work = Work()
    waiting = [asyncio.create_task(calls.join(key, work)) for key in "abc"]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match=r"^Three run already\.$"):
        await calls.join("d", work)
    waiting.append(asyncio.create_task(calls.join("a", work)))
    await asyncio.sleep(0)
    work.may_finish.set()
    assert len(await asyncio.gather(*waiting)) == 4


async def test_start_returns_the_running_call_or_a_new_one(calls: SingleFlight[str, int]) -> None:
    """Starting twice is one call; `running` returns it until it has finished."""
    work = Work()
    assert calls.running("a") is None
    first = calls.start("a", work)
    assert calls.start("a", work) is calls.running("a") is first
    work.may_finish.set()
    assert await first == 1
    assert calls.running("a") is None
    assert "a" not in calls


async def test_a_call_that_has_finished_is_not_joined(calls: SingleFlight[str, int]) -> None:
    """Between the end of a call and its done callback, a caller gets a new call, not the old result."""
    work = Work()
    work.may_finish.set()
    finished = calls.start("a", work)
    await finished
    calls._running["a"] = finished  # The state until the done callback has run.
    assert "a" not in calls
    assert await calls.join("a", work) == 2


async def test_the_end_lets_calls_finish_within_the_grace(calls: SingleFlight[str, int]) -> None:
    """A call that finishes in time is not cancelled when the process ends."""
    work = Work()
    [waiter] = await joined(calls, work, 1)
    closing = asyncio.create_task(calls.aclose(5.0))
    await asyncio.sleep(0)
    work.may_finish.set()
    await closing
    assert await waiter == 1


async def test_the_end_answers_waiters_of_a_hanging_call_with_overloaded(calls: SingleFlight[str, int]) -> None:
    """A waiter for a call that is ended gets an error with a status, not a cancellation."""
    [waiter] = await joined(calls, Work(), 1)
    await calls.aclose(0.0)
    with pytest.raises(OverloadedError, match=r"^The broker is shutting down\.$"):
        await waiter
    assert len(calls) == 0


async def test_a_waiter_that_is_cancelled_with_the_call_ends_as_cancelled(calls: SingleFlight[str, int]) -> None:
    """A task that must end is not kept alive by an error in place of its cancellation."""
    [waiter] = await joined(calls, Work(), 1)
    [ending] = calls.cancel()
    waiter.cancel()
    await asyncio.wait({waiter, ending})
    assert waiter.cancelled()


async def test_a_call_takes_a_limited_number_of_waiters() -> None:
    """One waiter too many for a key is refused, other keys take theirs, and a place that is left can be taken again."""
    calls, work = SingleFlight[str, int](3, waiters=10, too_many_waiters="Ten wait already."), Work()
    tasks = await joined(calls, work, 10)
    with pytest.raises(OverloadedError, match=r"^Ten wait already\.$"):
        await calls.join("a", work)
    other = asyncio.create_task(calls.join("b", work))
    tasks[0].cancel()
    await asyncio.sleep(0)
    tasks[0] = asyncio.create_task(calls.join("a", work))
    await asyncio.sleep(0)
    work.may_finish.set()
    assert await asyncio.gather(*tasks, other) == [1] * 10 + [2]


async def test_a_group_has_a_limited_number_of_calls() -> None:
    """A full group leaves room for other groups, its running calls can be joined, and one that ends makes room."""
    calls, work = (
        SingleFlight[str, int](9, group=lambda key: key[0], group_limit=2, too_many_in_group="Two run."),
        Work(),
    )
    tasks = [asyncio.create_task(calls.join(key, work)) for key in ("a1", "a2", "a1", "b1")]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match=r"^Two run\.$"):
        await calls.join("a3", work)
    work.may_finish.set()
    assert sorted(await asyncio.gather(*tasks)) == [1, 1, 2, 3]
    assert await calls.join("a3", work) == 4
    assert calls._in_group == {}
