"""The policy in force: the last good one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from app.domain.events import Event, PolicyLoaded, PolicyRefused
from app.domain.plain_document import PolicyError
from app.domain.policy import Policy
from app.service.reload import PolicyInForce
from tests.factories import ISSUER, ORG, make_caller, make_policy, make_rule
from tests.fakes import FakePolicySource, FakeVerifier, ManualClock
from tests.support.recorded_events import RecordedEvents
from tests.support.waiting import until

FIRST, SECOND = make_policy(version="first"), make_policy(version="second")
BAD = PolicyError("callers[0].allow", "must be a list")


class ReloadHarness:
    """A policy in force, and its surroundings."""

    def __init__(self) -> None:
        self.source = FakePolicySource(FIRST)
        self.verifier = FakeVerifier()
        self.sink = RecordedEvents()
        self.policy = PolicyInForce(self.source, self.verifier, self.sink, ManualClock(7.0), reload_seconds=0.001)

    async def events_after(self, number: int) -> list[Event]:
        """Wait for this number of events in total, and a little longer; return all events."""
        await until(lambda: len(self.sink.all) >= number)
        await asyncio.sleep(0.01)
        return self.sink.all


@pytest.fixture
async def harness() -> AsyncIterator[ReloadHarness]:
    """A policy that constantly checks its file."""
    harness = ReloadHarness()
    await harness.policy.load()
    watching = asyncio.create_task(harness.policy.watch())
    yield harness
    assert not watching.done()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_without_a_good_policy_there_is_no_start() -> None:
    """A bad file at the start is an error, and until then no caller is allowed anything."""
    harness = ReloadHarness()
    assert harness.policy.current.callers == ()
    harness.source.content = BAD
    with pytest.raises(PolicyError):
        await harness.policy.load()


async def test_a_change_comes_into_force_with_its_issuers_and_is_reported_once(harness: ReloadHarness) -> None:
    """The new policy replaces the whole old one, and the verifier trusts its issuers."""
    harness.verifier.trust(())
    harness.source.content = SECOND
    assert await harness.events_after(2) == [PolicyLoaded(7.0, "first"), PolicyLoaded(7.0, "second")]
    assert harness.policy.current is SECOND
    assert harness.verifier.issuers == (ISSUER,)


async def test_the_notes_of_a_policy_are_reported_with_each_reload(harness: ReloadHarness) -> None:
    """A change that takes a right away by a blank is reported as at the start; of many notes, the first twenty."""
    harness.source.content = Policy((), version="third", notes=["callers[0].allow: allows nothing to one"])
    await harness.events_after(2)
    harness.source.content = Policy((), version="twenty", notes=[f"note {number}" for number in range(20)])
    await harness.events_after(3)
    harness.source.content = Policy((), version="fourth", notes=[f"note {number}" for number in range(25)])
    *_, third, twenty, fourth = await harness.events_after(4)
    assert third == PolicyLoaded(7.0, "third", ("callers[0].allow: allows nothing to one",))
    assert isinstance(twenty, PolicyLoaded)
    assert isinstance(fourth, PolicyLoaded)
    assert twenty.notes == tuple(f"note {number}" for number in range(20))
    assert fourth.notes[19:] == ("note 19", "and 5 more, which policy check prints")


async def test_a_bad_file_keeps_the_last_good_policy_and_is_reported_once(harness: ReloadHarness) -> None:
    """However often the bad file is checked, there is one event."""
    harness.source.content = BAD
    events = await harness.events_after(2)
    assert events[1:] == [PolicyRefused(7.0, "callers[0].allow: must be a list")]
    assert harness.policy.current is FIRST


async def test_another_fault_is_reported_too(harness: ReloadHarness) -> None:
    """A file that is invalid for another reason is a new event."""
    harness.source.content = BAD
    await harness.events_after(2)
    harness.source.content = PolicyError("version", "must be 1")
    events = await harness.events_after(3)
    assert [event.reason for event in events if isinstance(event, PolicyRefused)] == [
        "callers[0].allow: must be a list",
        "version: must be 1",
    ]


async def test_a_rule_ends_at_its_time_while_the_file_cannot_be_read() -> None:
    """A rule that is past its end is gone although no reload happens, and one that had ended before is never there."""
    clock = ManualClock(7.0)
    ending = replace(make_rule(ORG), not_after=9.0)
    source = FakePolicySource(make_policy(make_caller("a", ending), make_caller("b", replace(ending, not_after=7.0))))
    policy = PolicyInForce(source, FakeVerifier(), RecordedEvents(), clock, expiry_check_seconds=0.001)
    await policy.load()
    first = policy.current
    ends = asyncio.create_task(policy.watch_ends())
    await asyncio.sleep(0.01)
    assert policy.current is first
    assert [len(caller.rules) for caller in first.callers] == [1, 0]
    clock.advance(2.0)
    await until(lambda: policy.current is not first)
    assert [len(caller.rules) for caller in policy.current.callers] == [0, 0]
    ends.cancel()


async def test_a_return_to_the_good_file_is_reported_and_so_is_the_same_fault_after_it(harness: ReloadHarness) -> None:
    """After a return to the policy in force, the next bad file is reported, even for the same reason."""
    harness.source.content = BAD
    await harness.events_after(2)
    harness.source.content = FIRST
    await harness.events_after(3)
    harness.source.content = BAD
    kinds = [type(event) for event in await harness.events_after(4)]
    assert kinds == [PolicyLoaded, PolicyRefused, PolicyLoaded, PolicyRefused]
