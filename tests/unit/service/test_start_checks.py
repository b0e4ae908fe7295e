"""The checks of Vault and Redis when the process starts: one event each, whatever they find, and no waiting."""

from __future__ import annotations

import asyncio

import pytest

from app.domain.dependency_errors import CacheUnavailableError, CredentialStoreError
from app.domain.events import DependencyChecked
from app.service.start_checks import NO_ONE, PAUSES, check_at_start, read_from, use_shared_cache
from tests.fakes import FakeCache, FakeConnection, FakeCredentialStore, FakeLease, FakePurgeLog, ManualClock
from tests.support.recorded_events import RecordedEvents


class Attempts:
    """An attempt that fails with each of some errors in turn, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.made = 0

    async def __call__(self) -> None:
        """Fail or succeed."""
        self.made += 1
        if self._errors:
            raise self._errors.pop(0)


async def checked(attempts: Attempts) -> tuple[list[DependencyChecked], list[float]]:
    """The events of a check of Redis, and the pauses it made."""
    sink, pauses = RecordedEvents(), list[float]()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    await check_at_start("redis", attempts, sink, sleep=sleep)
    return sink.of(DependencyChecked), pauses


async def test_a_system_that_works_is_reported_at_once() -> None:
    """The first success is the only attempt."""
    attempts = Attempts()
    assert await checked(attempts) == ([DependencyChecked("redis", ready=True)], [])
    assert attempts.made == 1


async def test_a_system_that_comes_up_late_is_ready() -> None:
    """A failed attempt is repeated, and only the success is reported."""
    attempts = Attempts(CacheUnavailableError("down"), CacheUnavailableError("down"))
    assert await checked(attempts) == ([DependencyChecked("redis", ready=True)], list(PAUSES))


async def test_a_system_that_fails_is_reported_once_with_its_last_reason() -> None:
    """After the last attempt one event has the sentence of the failure."""
    attempts = Attempts(*(CacheUnavailableError(text) for text in ("down", "down", "denied")))
    assert await checked(attempts) == ([DependencyChecked("redis", ready=False, reason="denied")], list(PAUSES))
    assert attempts.made == 3


async def test_a_check_that_hangs_ends_at_its_deadline() -> None:
    """A system that never answers is reported as not ready when the time is over."""
    sink = RecordedEvents()

    async def hang() -> None:
        await asyncio.Event().wait()

    await check_at_start("vault", hang, sink, deadline=0.01)
    (event,) = sink.of(DependencyChecked)
    assert (event.dependency, event.ready) == ("vault", False)
    assert event.reason == "It does not answer in time."


async def test_an_unexpected_error_is_not_an_answer() -> None:
    """An error that is not the system's is raised, so that it is reported as a bug."""
    with pytest.raises(KeyError):
        await checked(Attempts(KeyError()))


async def test_a_store_that_says_that_nothing_is_there_is_ready() -> None:
    """Nothing is stored for the org that is asked for, so that this answer is the right one; an outage is not."""
    store = FakeCredentialStore()
    await read_from(store)
    assert store.fetches == [NO_ONE.ref]
    store.failure = CredentialStoreError("sealed")
    with pytest.raises(CredentialStoreError):
        await read_from(store)


async def test_the_shared_cache_is_read_and_written_and_left_as_it_was() -> None:
    """The check takes a lease, which is a script that writes, and gives it back."""
    clock = ManualClock()
    cache, lease = FakeCache(clock, FakePurgeLog(FakeConnection())), FakeLease(clock)
    await use_shared_cache(cache, lease)
    assert (cache.calls, lease.acquired, lease.released) == (["read"], 1, 1)
    assert await lease.acquire(NO_ONE) is not None
    await use_shared_cache(cache, lease)  # another replica holds it
    lease.is_down = True
    with pytest.raises(CacheUnavailableError):
        await use_shared_cache(cache, lease)
