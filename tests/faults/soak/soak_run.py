"""One run of the soak: the rig, its clients, the faults, and what was recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.faults.soak.fault_plan import Report, fault_plan
from tests.faults.soak.nemesis import Nemesis
from tests.faults.soak.observer import find_secrets, measure_always, watch_machine
from tests.faults.soak.recording_clients import RecordingClients
from tests.faults.soak.records import AskedToken, Begun, RecordedHistory
from tests.faults.soak.rig import STRANGER, Rig, running_rig

PROGRESS_SECONDS = 15.0
LIST_SECONDS = 2.0


async def soaked(
    folder: Path, seed: int, seconds: float, rate: float, report: Report, bug: str | None = None
) -> RecordedHistory:
    """Run the rig with the faults of a seed; what was recorded.

    Args:
        folder: Where the logs and the history are kept.
        seed: What decides about the faults.
        seconds: How long.
        rate: Requests per second.
        report: Shows progress.
        bug: A bug of `planted_bugs` in the brokers, or None.

    """
    history = RecordedHistory(path=folder / "history.jsonl")
    async with running_rig(folder, seed, bug) as rig:
        clients = {org: tenant.client_id for org, tenant in rig.tenants.items()}
        lives = {org: float(tenant.token_lifetime or 0) for org, tenant in rig.tenants.items()}
        history.add(Begun(seed, clients, lives, [STRANGER]))
        callers = RecordingClients(rig, history, seed)
        nemesis = Nemesis(rig, callers, history, report)
        background = [
            asyncio.create_task(measure_always(rig, history)),
            asyncio.create_task(watch_machine(rig, history)),
            asyncio.create_task(_again(LIST_SECONDS, nemesis.list_exchanges)),
            asyncio.create_task(_again(PROGRESS_SECONDS, lambda: _show(rig, callers, history, report, seconds))),
        ]
        try:
            async with callers.asking(rate):
                await nemesis.run(fault_plan(seed, seconds))
                await asyncio.sleep(max(0.0, seconds - rig.now()))
            await nemesis.list_exchanges()
            size = await find_secrets(rig, history, bytes(callers.errors))
        finally:
            for task in background:
                task.cancel()
            results = await asyncio.gather(*background, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        report(f"{sum(nemesis.counts.values())} faults; looked for secrets in {size:,} bytes")
    history.close()
    return history


async def _again(seconds: float, run: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await run()
        except (OSError, TimeoutError):
            continue  # what it asks is down


async def _show(rig: Rig, callers: RecordingClients, history: RecordedHistory, report: Report, seconds: float) -> None:
    asked = history.of(AskedToken)
    good = sum(one.status == 200 for one in asked)
    report(f"{rig.now():>7.1f} s of {seconds:.0f} s: {len(asked)} answers, {good} tokens, {callers.waiting} waiting")
