"""One row of the fault table: what fails, what must happen then, and which tests show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FaultRow:
    """A fault that the broker must survive.

    Args:
        number: Its number, from 1. It never changes, so that names of tests and reports stay valid.
        fault: What fails.
        behaviour: What callers, operators and IMS see then.
        shown_by: The tests that show it, as ``tests/folder/test_file.py::test_name`` or ``…::TestClass::test_name``.
        limits: What these tests leave out or do at a smaller size, if anything.
        reason: Why no test can show it on one machine; only without tests.

    """

    number: int
    fault: str
    behaviour: str
    shown_by: tuple[str, ...] = ()
    limits: str = ""
    reason: str = ""
