"""The newcomer's page: the files that a change needs exist, and they are few."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest

from tests.support.repository import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
TABLE = PAGE.partition("<!-- changes -->\n")[2].partition("<!-- /changes -->")[0]
ROWS = {cells[1].strip(): (cells[2], cells[3]) for line in TABLE.splitlines()[2:] if len(cells := line.split("|")) == 5}

LIMITS = {
    "a setting": 5,
    "an error code": 2,
    "a metric of an event": 3,
    "a metric that is asked for at each scrape": 3,
    "an endpoint": 4,
    "a kind of credential": 3,
    "a signer": 12,
    "a check of `doctor`": 2,
    "a step of a secret rotation": 4,
    "a rule of the keeper": 4,
    "a command": 3,
    "a command that changes credentials": 4,
    "a reason why a caller is refused": 3,
    "a row of the troubleshooting page": 2,
    "a member of the audit line": 6,
    "a cache backend": 9,
}
"""How many files a change may need. A change that needs more needs a better structure first."""


def test_the_page_has_each_change() -> None:
    """The table has a row for each change that has a limit, and no other row."""
    assert ROWS.keys() == LIMITS.keys()


@pytest.mark.parametrize("change", LIMITS)
def test_a_change_needs_few_files(change: str) -> None:
    """No change has more steps than its limit."""
    steps = re.sub(r"\([^)]*\)", "", ROWS[change][0]).split(", ")

    assert 1 <= len(steps) <= LIMITS[change]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w./-]+/[\w./-]+|\w+\.\w+)`", PAGE))))
def test_each_file_of_the_page_exists(path: str) -> None:
    """Each path that the page names, and that is not one of a new file, is in the repository."""
    assert (ROOT / path).exists() or find_spec(path)


@pytest.mark.parametrize(
    "module", sorted({name for _, run in ROWS.values() for name in re.findall(r"`([\w.]+)`", run)})
)
def test_each_command_of_the_page_exists(module: str) -> None:
    """Each command that writes a file is a module to run with `python -m`."""
    assert find_spec(module) is not None
