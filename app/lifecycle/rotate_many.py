"""Rotates many secrets, a few at a time, and comes back to those that must wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from app.domain.errors import BrokerError
from app.domain.secret_owner import SecretOwner
from app.lifecycle.in_parallel import in_parallel
from app.lifecycle.rotation_progress import Progress, Waiting
from app.ports import Clock


@dataclass(frozen=True, slots=True)
class Failed:
    """A rotation that stopped; the next run continues it."""

    owner: SecretOwner
    error: BrokerError


Outcome = Progress | Failed


async def rotate_many(
    owners: Sequence[SecretOwner],
    advance: Callable[[SecretOwner], Awaitable[Progress]],
    heard: Callable[[Outcome], None],
    clock: Clock,
    *,
    parallel: int,
    wait: bool,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[Outcome]:
    """The last outcome of each owner.

    Args:
        owners: Whose secrets are rotated.
        advance: Takes one rotation as far as it goes.
        heard: Gets each outcome as it comes; one that waits has more than one.
        clock: Unix time in seconds.
        parallel: Rotations at a time.
        wait: Whether to stay until no rotation has to wait.
        sleep: Waits for some seconds.

    """
    last: dict[SecretOwner, Outcome] = {}
    due: Sequence[SecretOwner] = owners
    while due:
        for outcome in await in_parallel(due, partial(_outcome, advance, heard), parallel):
            last[outcome.owner] = outcome
        waiting = [outcome for outcome in last.values() if isinstance(outcome, Waiting)]
        if not wait or not waiting:
            break
        earliest = min(outcome.until for outcome in waiting)
        await sleep(max(0.0, earliest - clock()))
        # A sleep may end a little early by the wall clock.
        due = [outcome.owner for outcome in waiting if outcome.until <= max(earliest, clock())]
    return list(last.values())


async def _outcome(
    advance: Callable[[SecretOwner], Awaitable[Progress]], heard: Callable[[Outcome], None], owner: SecretOwner
) -> Outcome:
    outcome: Outcome
    try:
        outcome = await advance(owner)
    except BrokerError as error:
        outcome = Failed(owner, error)
    heard(outcome)
    return outcome
