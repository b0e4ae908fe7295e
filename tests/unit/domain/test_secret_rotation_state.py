"""What the rotation of a client secret writes down before each step, so that it can go on after a crash."""

from __future__ import annotations

import pytest

from app.domain.secret_rotation_state import RotationState, RotationStep
from tests.support.documents import CANARY


@pytest.mark.parametrize("step", RotationStep)
def test_what_was_written_is_read_again(step: RotationStep) -> None:
    """A state survives storing, with and without what is known later; the secret is not in its repr."""
    first = RotationState(RotationStep.ADDING, "old-uuid", 1_790_000_000.0, "run-1")
    later = first.at(step, 1_790_000_060.0, new="new-uuid", value=CANARY, digest="ab" * 32)
    assert RotationState.parsed(first.document()) == first
    assert RotationState.parsed(later.document()) == later
    assert CANARY not in repr(later)


def test_another_run_takes_over_the_same_state() -> None:
    """Only the run changes."""
    state = RotationState(RotationStep.ADDING, "old-uuid", 1_790_000_000.0, "run-1")
    taken = state.owned_by("run-2")
    assert taken.run == "run-2"
    assert taken.owned_by("run-1") == state
