"""Text from outside is printed without anything that a terminal would obey."""

from __future__ import annotations

import pytest

from app.audit.trace import Receiver, Trace
from app.cli.incident_report import Containment, lines_of_report
from app.cli.printable import LONGEST, printable
from app.domain.leaked_token import LeakedToken
from app.domain.names import CredentialRef, OrgId

EVIL = "caller\x1b]0;title\x07\x9b31m\r\n\u202e\u2028name"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (EVIL, "caller ]0;title  31m    name"),
        ("Jürgen 日本", "Jürgen 日本"),
        ("", ""),
        (None, ""),
        (7, ""),
        (["x"], ""),
        ("x" * (LONGEST + 1), "x" * LONGEST),
    ],
)
def test_control_characters_become_spaces(value: object, expected: str) -> None:
    """Control, direction and line characters become spaces, other text stays, what is not text is empty."""
    assert printable(value) == expected


def test_a_text_is_cut_off() -> None:
    """A limit of the caller applies."""
    assert printable("abc", 2) == "ab"


def test_the_report_of_an_incident_is_printable() -> None:
    """No line of the report has a control character, whatever an audit log says."""
    receiver = Receiver(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, 2, [EVIL])
    ref = CredentialRef(OrgId("0123456789ABCDEF01234567@AdobeOrg"))
    done = Containment(LeakedToken("ab" * 32, EVIL, None), Trace([receiver]), {ref: ()}, 0.0)
    lines = list(lines_of_report(done))
    assert any("caller ]0;title" in line for line in lines)
    assert all(line.isprintable() for line in lines)
