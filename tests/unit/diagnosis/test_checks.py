"""Checks run side by side, and none prevents another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.diagnosis import Check, CheckFinding, failed, fine, run_checks
from app.domain.dependency_errors import CacheUnavailableError

SECRET = "hunter2-hunter2"


def _finds(finding: CheckFinding) -> Callable[[], Awaitable[CheckFinding]]:
    async def run() -> CheckFinding:
        return finding

    return run


async def _hangs() -> CheckFinding:
    await asyncio.Event().wait()
    return fine("never")


async def _breaks() -> CheckFinding:
    raise RuntimeError(SECRET)


async def _is_refused() -> CheckFinding:
    raise CacheUnavailableError("Redis said no.")


async def test_each_check_ends_whatever_the_others_do() -> None:
    """A check that hangs, one that breaks and one that is refused are failures of their own; the last one succeeds."""
    found = await run_checks(
        [
            Check("hangs", _hangs, remedy="Wait."),
            Check("breaks", _breaks),
            Check("is refused", _is_refused, remedy="Ask."),
            Check("works", _finds(fine("All right."))),
        ],
        0.05,
    )

    assert [(each.name, each.finding.status, each.finding.detail, each.finding.remedy) for each in found] == [
        ("hangs", "failed", "It did not end within 0.05 s.", "Wait."),
        ("breaks", "failed", "Internal error: RuntimeError.", "Please report it."),
        ("is refused", "failed", "Redis said no.", "Ask."),
        ("works", "ok", "All right.", ""),
    ]
    assert SECRET not in repr(found)


async def test_a_check_is_skipped_with_the_one_that_it_needs() -> None:
    """What needs a failed check is skipped with the reason, and so is what needs that; a warning is good enough."""
    found = await run_checks(
        [
            Check("first", _finds(failed("No.", "Repair it."))),
            Check("second", _finds(fine("Yes.")), "first"),
            Check("third", _finds(fine("Yes.")), "second"),
            Check("other", _finds(CheckFinding("warning", "Look.", "Soon."))),
            Check("after it", _finds(fine("Yes.")), "other"),
        ],
        1.0,
    )

    assert [(each.finding.status, each.finding.detail) for each in found] == [
        ("failed", "No."),
        ("skipped", "Skipped, because the check first failed."),
        ("skipped", "Skipped, because the check second was skipped."),
        ("warning", "Look."),
        ("ok", "Yes."),
    ]
