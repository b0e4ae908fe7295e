"""Row 83: a short soak keeps all invariants; `make faults-soak` runs it for as long as you like."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.soak.history_check import HistoryCheck
from tests.faults.soak.records import AskedToken, Exchanged, Measured
from tests.faults.soak.soak_run import soaked

SECONDS, SEED, RATE = 60.0, 3, 40.0

MOST_IDLE_DESCRIPTORS = 120
"""Of a replica: its files, pools to three systems, and connections that clients keep."""


@pytest.mark.timeout(240)
async def test_random_faults_break_no_invariant(tmp_path: Path) -> None:
    """A minute of random faults, the same in each run, on real processes: no invariant is violated."""
    history = await soaked(tmp_path, SEED, SECONDS, RATE, print)
    check = HistoryCheck(history)
    assert [str(violation) for violation in check.violations()] == []
    print(check.summary())
    # The checks had something to check.
    assert len(history.of(AskedToken)) > SECONDS * RATE / 2
    assert check.expected > len(history.of(AskedToken)) / 3
    assert history.of(Exchanged)
    last = {measured.replica: measured.values for measured in history.of(Measured)}
    assert len(last) == 3
    assert max(values["descriptors"] for values in last.values()) < MOST_IDLE_DESCRIPTORS
