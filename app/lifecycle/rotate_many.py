"""Rotates the secrets of many credentials, a few at a time, and comes back to those that must wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from app.domain.errors import BrokerError
from app.domain.names import CredentialRef
from app.lifecycle.in_parallel import in_parallel
from app.lifecycle.rotation_progress import Progress, Waiting
from app.ports import Clock


@dataclass(frozen=True, slots=True)
class Failed:
    """A rotation that stopped; the next run continues it."""

    ref: CredentialRef
    error: BrokerError


Outcome = Progress | Failed


async def rotate_many(
    refs: Sequence[CredentialRef],
    advance: Callable[[CredentialRef], Awaitable[Progress]],
    heard: Callable[[Outcome], None],
    clock: Clock,
    *,
    parallel: int,
    wait: bool,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[Outcome]:
    """The last outcome of each credential.

    Args:
        refs: The credentials.
        advance: Takes one rotation as far as it goes.
        heard: Gets each outcome as it comes; a waiting credential has more than one.
        clock: Unix time in seconds.
        parallel: Rotations at a time.
        wait: Whether to stay until no rotation has to wait.
        sleep: Waits for some seconds.

    """
    last: dict[CredentialRef, Outcome] = {}
    due: Sequence[CredentialRef] = refs
    while due:
        for outcome in await in_parallel(due, partial(_outcome, advance, heard), parallel):
            last[outcome.ref] = outcome
        waiting = [outcome for outcome in last.values() if isinstance(outcome, Waiting)]
        if not wait or not waiting:
            break
        await sleep(max(0.0, min(outcome.until for outcome in waiting) - clock()))
        due = [outcome.ref for outcome in waiting if outcome.until <= clock()]
    return list(last.values())


async def _outcome(
    advance: Callable[[CredentialRef], Awaitable[Progress]], heard: Callable[[Outcome], None], ref: CredentialRef
) -> Outcome:
    outcome: Outcome
    try:
        outcome = await advance(ref)
    except BrokerError as error:
        outcome = Failed(ref, error)
    heard(outcome)
    return outcome
