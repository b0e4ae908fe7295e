"""The outside systems that the broker calls, and how the outcome of a call says whether one works."""

from __future__ import annotations

from typing import Literal

Dependency = Literal["redis", "vault", "ims", "jwks", "token_review"]

_ANSWERS = frozenset({"ok", "issued", "credential_not_found", "credential_misconfigured", "credential_rejected"})
"""Outcomes of calls that a dependency answered as it should, even if the answer was a refusal."""


def dependency_works(outcome: str) -> bool | None:
    """Whether a dependency works, judged by the outcome of one call to it.

    Args:
        outcome: That of a `DependencyCalled` or an `ExchangeFinished`.

    Returns:
        None if the call was cancelled here, because then it says nothing about the dependency.

    """
    return None if outcome == "cancelled" else outcome in _ANSWERS
