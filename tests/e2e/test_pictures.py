"""``docs/pictures.md``: its captures are what commands print, its diagrams have the names and numbers of the code."""

from __future__ import annotations

import itertools
import re

import pytest

from app.domain.access_token import CRITICAL_SECONDS, CRITICAL_SHARE, MAX_CLOCK_DIFFERENCE, TokenState
from app.domain.cache_entry import MAX_HOLD
from app.domain.secret_rotation_state import RotationStep
from app.process.breaker import State
from app.service.backoff import FIRST_SECONDS, LONGEST_PAUSE_SECONDS, LONGEST_REFUSAL_SECONDS
from app.service.mint import REFRESH_WINDOW
from app.service.shared_exchange import REPLACEMENT_SECONDS
from app.service.vend import CRITICAL_WAIT_SECONDS
from tests.support.captures import PAGE, SECTION, captures

TEXT = PAGE.read_text()
DIAGRAMS = re.findall(r"^```mermaid\nstateDiagram-v2\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def changes(diagram: str) -> list[tuple[str, str]]:
    """The changes of state that a diagram shows, without its beginning and end."""
    found = re.findall(r"^ +(\S+) --> (\S+?)(?::.*)?$", diagram, re.MULTILINE)
    return [change for change in found if "[*]" not in change]


async def test_the_captures_are_current() -> None:
    """The page has exactly what the commands print now; `python -m tests.support.captures` writes it."""
    shown = TEXT.partition(f"<!-- {SECTION} -->\n")[2].partition(f"\n<!-- /{SECTION} -->")[0]
    assert shown == await captures(), "stale: run `python -m tests.support.captures`"


@pytest.mark.parametrize(
    ("number", "states"),
    [(0, {*TokenState, "absent"}), (1, {*RotationStep, "stored"}), (2, {state.value for state in State})],
    ids=["token", "credential", "breaker"],
)
def test_a_diagram_has_the_states_of_the_code(number: int, states: set[str]) -> None:
    """A diagram has every state of the code, and no other one."""
    assert {state for change in changes(DIAGRAMS[number]) for state in change} == {str(state) for state in states}


def test_the_steps_of_a_rotation_follow_in_their_order() -> None:
    """The diagram has the steps of a rotation in the order of the code, between two stored documents."""
    path = ["stored", *map(str, RotationStep), "stored"]
    moves = [change for change in changes(DIAGRAMS[1]) if change[0] != change[1]]
    assert moves == list(itertools.pairwise(path))


def test_the_diagrams_have_the_numbers_of_the_code() -> None:
    """Each number of a diagram is the code's."""
    first, last = REFRESH_WINDOW
    for words in (
        f"refresh_at, between {first} and {last} of the lifetime",
        f"a pause that grows from {FIRST_SECONDS:.0f} s to {LONGEST_PAUSE_SECONDS:.0f} s",
        f"{CRITICAL_SECONDS:.0f} s or {CRITICAL_SHARE:.0%} of the lifetime before expires_at".replace("%", " %"),
        f"waits for the refresh, for at most {CRITICAL_WAIT_SECONDS:.0f} s",
        f"up to {MAX_CLOCK_DIFFERENCE:.0f} s before expires_at",
        f"replaced at most once in {REPLACEMENT_SECONDS:.0f} s",
        f"next attempt after {FIRST_SECONDS:.0f} s, growing to {LONGEST_PAUSE_SECONDS:.0f} s",
        f"at once for up to {FIRST_SECONDS:.0f} s, growing to {LONGEST_REFUSAL_SECONDS:.0f} s",
        f"(at most {MAX_HOLD:.0f} s; ",
    ):
        assert words in TEXT
