"""House rules for planted bugs: the page that lists them is complete, and each invariant has one."""

from __future__ import annotations

import re

from tests.faults.soak.planted_bugs import BUGS
from tests.simulation.test_planted_bugs import PLANTED, name_of
from tests.support.invariants import Invariant
from tests.support.repository import ROOT

PAGE = (ROOT / "tests/faults/README.md").read_text()


def listed(part: str) -> list[tuple[str, str]]:
    """The bugs in a table of the page, and the invariant that each violates."""
    table = PAGE.partition(f"<!-- {part} -->")[2].partition(f"<!-- /{part} -->")[0]
    return re.findall(r"^\| `(\w+)` \| [^|]+ \| (\w+) \|", table, re.MULTILINE)


def test_the_page_lists_the_bugs_of_the_soak() -> None:
    """Each bug that is planted into real brokers is listed with the invariant that it violates."""
    assert listed("soak") == [(name, bug.violates.name) for name, bug in BUGS.items()]


def test_the_page_lists_the_bugs_of_the_simulation() -> None:
    """Each bug that is planted into the simulation is listed with the invariant that it violates."""
    assert listed("simulation") == [
        (name_of(plant), "any" if found_as == "I" else found_as) for plant, found_as in PLANTED
    ]


def test_each_invariant_has_a_bug() -> None:
    """The soak is shown a violation of every invariant, by at least twelve bugs."""
    assert {bug.violates for bug in BUGS.values()} == set(Invariant)
    assert len(BUGS) >= 12
