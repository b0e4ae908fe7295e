"""What the outcome of one call says about an outside system."""

from __future__ import annotations

import pytest

from app.domain.dependency import concerns_one_operation, dependency_works


@pytest.mark.parametrize(("outcome", "works"), [
    ("ok", True), ("issued", True), ("credential_rejected", True), ("credential_not_found", True),
    ("bad_upstream_response", False), ("ims_unavailable", False), ("timeout", False), ("cancelled", None),
])  # fmt: skip
def test_a_proper_answer_shows_that_a_dependency_works(outcome: str, works: bool | None) -> None:
    """Also if it is a refusal; a call that was cancelled here says nothing."""
    assert dependency_works(outcome) is works


@pytest.mark.parametrize(("outcome", "one"), [("forbidden", True), ("out_of_memory", True), ("timeout", False)])
def test_some_refusals_of_redis_concern_one_operation(outcome: str, one: bool) -> None:
    """Redis may do what other calls ask for."""
    assert concerns_one_operation(outcome) is one
