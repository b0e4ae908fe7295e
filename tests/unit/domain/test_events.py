"""What events say about the systems that were called."""

from __future__ import annotations

import pytest

from app.domain.dependency import dependency_works
from app.domain.events import DependencyCalled


@pytest.mark.parametrize(
    ("outcome", "works"),
    [
        ("ok", True),
        ("issued", True),
        ("credential_not_found", True),
        ("credential_misconfigured", True),
        ("credential_rejected", True),
        ("cancelled", None),
        ("timeout", False),
        ("skipped", False),
        ("ims_unavailable", False),
        ("credential_store_unavailable", False),
        ("identity_unavailable", False),
        ("internal_error", False),
    ],
)
def test_a_dependency_works_if_it_answered_even_with_a_refusal(outcome: str, works: bool | None) -> None:
    """A refused credential shows that IMS is up, and a cancelled call shows nothing."""
    assert dependency_works(outcome) is works
    assert DependencyCalled("ims", "exchange", outcome, 0.1).works is works
