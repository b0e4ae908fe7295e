"""What a check found. No text of it has a secret, so that it can be pasted into a ticket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """The result of a check.

    Args:
        status: ``warning``: it works, but someone should look; ``skipped``: it could not be checked.
        detail: What was found.
        remedy: What to do about it; empty if there is nothing to do, or if the detail says it.

    """

    status: Status
    detail: str
    remedy: str = ""


def fine(detail: str) -> CheckFinding:
    """All is well."""
    return CheckFinding("ok", detail)


def warning(detail: str, remedy: str) -> CheckFinding:
    """It works, but someone should look."""
    return CheckFinding("warning", detail, remedy)


def failed(detail: str, remedy: str) -> CheckFinding:
    """Something is wrong."""
    return CheckFinding("failed", detail, remedy)


def skipped(reason: str) -> CheckFinding:
    """It was not checked."""
    return CheckFinding("skipped", reason)
