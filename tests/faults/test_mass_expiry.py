"""Row 22: thousands of tokens that were created in the same second."""

from __future__ import annotations

import random
from collections import Counter

from app.service.mint import Minter
from tests.factories import make_credential, make_key
from tests.fakes import FakeSigner
from tests.support.recorded_events import RecordedEvents
from tests.support.replica_in_memory import World

TOKENS = 2_000
TWO_HOURS = 7_200.0
PERIODS = 20


async def test_tokens_of_one_second_are_refreshed_over_two_hours() -> None:
    """The times of refresh spread over more than two hours, and no period has more than three times its share."""
    world = World()
    minter = Minter(
        world.store,
        {"stored": FakeSigner("key")},
        world.exchanger,
        lambda _pem: 0.0,
        RecordedEvents(),
        world.clock,
        draw=random.Random(22).uniform,
    )
    world.put(make_credential())
    due = [(await minter.mint(make_key(), 0)).refresh_at for _ in range(TOKENS)]
    first, length = min(due), max(due) - min(due)
    assert length > TWO_HOURS
    periods = Counter(min(PERIODS - 1, int((at - first) / length * PERIODS)) for at in due)
    assert max(periods.values()) < 3 * TOKENS / PERIODS
