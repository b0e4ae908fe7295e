"""The external systems that the broker calls, and whether they work."""

from __future__ import annotations

from typing import Literal

from app.domain.tenant_errors import TenantError

Dependency = Literal["redis", "vault", "ims", "jwks", "token_review", "kms"]

_ANSWERS = frozenset({"ok", "issued", *(error.code for error in TenantError.__subclasses__() if error.answered)})
"""The outcomes of calls that a dependency answered properly, even with a refusal."""

_OF_ONE_OPERATION = frozenset(
    {"forbidden", "unknown_command", "read_only", "refuses_writes", "out_of_memory", "foreign_value"}
)
"""The outcomes of calls that Redis refused, while it may do what other calls ask for."""


def concerns_one_operation(outcome: str) -> bool:
    """Whether a call with this outcome says that its operation fails, and nothing about other operations."""
    return outcome in _OF_ONE_OPERATION


def dependency_works(outcome: str) -> bool | None:
    """Whether a dependency works, according to the outcome of one call to it.

    Args:
        outcome: The outcome of a `DependencyCalled` or an `ExchangeFinished`.

    Returns:
        None if the call was cancelled here, because then it says nothing about the dependency.

    """
    return None if outcome == "cancelled" else outcome in _ANSWERS
