"""What must hold whatever fails: the names of the invariants, for every checker of a history.

The simulation (`tests/simulation`) checks those that can be violated on virtual time; the soak (`tests/faults/soak`)
checks all of them on real processes. docs/contract.md section 8 has the promises behind them.
"""

from __future__ import annotations

from enum import StrEnum

LONGEST_REQUEST = 15.0
"""Seconds within which each request ends (docs/contract.md section 9)."""


class Invariant(StrEnum):
    """An invariant; its value is what violating it means."""

    I1 = "a token does not belong to the org and credential that were asked for"
    I2 = "a caller got a token that the policy does not allow"
    I3 = "a token was answered past its end, with less than `min_ttl` left, or after a purge had reached the replica"
    I4 = "more exchanges than the bound"
    I5 = "a secret appears where it does not belong"
    I6 = "a request did not end in time"
    I7 = "memory, descriptors, tasks, threads or keys grow"
    I8 = "a request failed that had to succeed"


class InvariantError(AssertionError):
    """An invariant was violated."""
