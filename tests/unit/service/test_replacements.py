"""A reported token is replaced at most once a minute by each replica."""

from __future__ import annotations

from app.service.replacements import Replacements
from tests.factories import OTHER_REF, REF


def test_a_replacement_counts_for_a_minute_and_for_its_credential() -> None:
    """Also just after the clock's beginning; another credential is not affected."""
    replacements = Replacements()
    assert [replacements.claim(REF, now) for now in (0.0, 59.5, 60.0, 119.5)] == [True, False, True, False]
    assert replacements.claim(OTHER_REF, 60.0)


def test_a_claim_can_be_given_back() -> None:
    """The next one succeeds at once; giving back what was never claimed changes nothing."""
    replacements = Replacements()
    replacements.give_back(REF)
    assert replacements.claim(REF, 10.0)
    replacements.give_back(REF)
    assert replacements.claim(REF, 10.0)
