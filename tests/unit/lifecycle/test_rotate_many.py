"""A command that rotates many secrets and stays until none of them waits."""

from __future__ import annotations

from app.domain.secret_owner import SecretOwner
from app.lifecycle.rotate_many import rotate_many
from app.lifecycle.rotation_progress import Progress, Rotated, Waiting
from tests.support.documents import ref_of


async def test_a_sleep_that_ends_early_loses_no_rotation() -> None:
    """If the wall clock is still before the end of the wait after it, each rotation is finished all the same."""
    looked: dict[SecretOwner, int] = {}
    now = 1000.0

    owners = [SecretOwner(ref_of(number)) for number in range(2)]

    async def advance(owner: SecretOwner) -> Progress:
        looked[owner] = looked.get(owner, 0) + 1
        return Waiting(owner, now + 30.0, "it is in use") if looked[owner] == 1 else Rotated(owner, "new", "old")

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds - 0.001

    outcomes = await rotate_many(
        owners, advance, lambda _outcome: None, lambda: now, parallel=1, wait=True, sleep=sleep
    )
    assert [type(outcome) for outcome in outcomes] == [Rotated, Rotated]
