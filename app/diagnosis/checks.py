"""Runs checks side by side, each with a deadline, so that one that fails or hangs never prevents the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from app.diagnosis.finding import CheckFinding, failed, skipped
from app.domain.errors import BrokerError


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Args:
        name: Its name, unique.
        run: Looks, and says what it found. A `BrokerError` is a failure with that detail.
        needs: The check without which this one says nothing; it is skipped if that one did not succeed.
        remedy: What to do if it does not end in time, or raises an error whose sentence says no remedy.

    """

    name: str
    run: Callable[[], Awaitable[CheckFinding]]
    needs: str | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """A check that has ended.

    Args:
        name: Its name.
        finding: What it found.
        seconds: How long it took, without waiting for the one that it needs.

    """

    name: str
    finding: CheckFinding
    seconds: float


async def run_checks(checks: Sequence[Check], timeout: float) -> list[Checked]:
    """The results, in the order of `checks`.

    Args:
        checks: A check comes after the one that it needs.
        timeout: Seconds for each check.

    """
    running: dict[str, asyncio.Task[Checked]] = {}
    for check in checks:
        running[check.name] = asyncio.create_task(_run(check, dict(running), timeout), name=f"check {check.name}")
    return list(await asyncio.gather(*running.values()))


async def _run(check: Check, earlier: Mapping[str, asyncio.Task[Checked]], timeout: float) -> Checked:
    if check.needs is not None:
        needed = (await earlier[check.needs]).finding
        if needed.status in {"failed", "skipped"}:
            word = "failed" if needed.status == "failed" else "was skipped"
            return Checked(check.name, skipped(f"Skipped, because the check {check.needs} {word}."), 0.0)
    now = asyncio.get_running_loop().time
    begun = now()
    finding = await _finding(check, timeout)
    return Checked(check.name, finding, now() - begun)


async def _finding(check: Check, timeout: float) -> CheckFinding:
    try:
        async with asyncio.timeout(timeout):
            return await check.run()
    except TimeoutError:
        return failed(f"It did not end within {timeout:g} s.", check.remedy or "Try again with a larger --timeout.")
    except BrokerError as error:
        return failed(error.detail, check.remedy)
    except Exception as error:  # noqa: BLE001  # the other checks go on; its text may quote a secret
        return failed(f"Internal error: {type(error).__name__}.", "Please report it.")
