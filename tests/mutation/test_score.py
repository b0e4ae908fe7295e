"""The score of a sample, and the sample."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.outcome import Outcome
from tests.mutation.sample import sample
from tests.mutation.score import Score, Total
from tests.support.repository import ROOT

NAMES = {"a": [f"a{number}" for number in range(100)], "b": ["b0", "b1"]}


def test_a_sample_is_the_same_for_the_same_seed_and_differs_for_another() -> None:
    """It has the size that was asked for, or all of a small module."""
    assert sample(NAMES, None, 0) == NAMES
    assert sample(NAMES, 10, 7) == sample({"a": NAMES["a"][::-1], "b": NAMES["b"]}, 10, 7)
    assert sample(NAMES, 10, 7)["a"] != sample(NAMES, 10, 8)["a"]
    assert {module: len(names) for module, names in sample(NAMES, 10, 7).items()} == {"a": 10, "b": 2}


def test_a_score_counts_what_waits_or_loops_as_detected_and_what_no_test_reaches_as_not() -> None:
    """Whatever ended in another way is not detected either."""
    score = Score("a", 6, Counter(Outcome))
    assert score.tried == 6
    assert score.detected == 0.5
    assert score.interval == (0.5, 0.5)


def test_an_interval_is_wide_for_a_small_sample_and_narrower_for_a_large_part_of_a_module() -> None:
    """Wilson's interval of 23 of 25 is 75 to 98 %; if these are half of the mutants, it is narrower."""
    outcomes = Counter({Outcome.KILLED: 23, Outcome.SURVIVED: 2})
    assert Score("a", 1_000_000, outcomes).interval == pytest.approx((0.750, 0.978), abs=0.001)
    low, high = Score("a", 50, outcomes).interval
    assert 0.78 < low < 0.82
    assert 0.96 < high < 0.978


def test_in_the_total_a_module_counts_by_its_size() -> None:
    """A module of 300 counts three times as much as one of 100, however many of them were tried."""
    large = Score("large", 300, Counter({Outcome.KILLED: 10}))
    small = Score("small", 100, Counter({Outcome.KILLED: 5, Outcome.SURVIVED: 5}))
    assert Total([large, small, Score("none", 50, Counter())]).detected == 0.875
    low, high = Total([large, small]).interval
    assert 0.5 < low < 0.875 < high < 1.0


@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_is_known_by_the_exit_code_of_its_child(outcome: Outcome) -> None:
    """As mutmut knows it; an unknown code is none of those that are detected, a kill follows a limit of CPU time."""
    assert Outcome.of(outcome.exit_code) is outcome
    assert (Outcome.of(77), Outcome.of(-9)) == (Outcome.BROKE, Outcome.LOOPED)


@pytest.mark.parametrize(("module", "was"), sorted({(module, was) for module, was, _ in EQUIVALENT}))
def test_every_equivalent_mutant_is_one_of_the_code(module: str, was: str) -> None:
    """The lines that it changes are still in the module; otherwise its entry is to be removed."""
    lines = (ROOT / module).read_text().splitlines()
    assert was in " ".join(line.strip() for line in lines)
