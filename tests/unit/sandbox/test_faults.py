"""Faults and the journal."""

from __future__ import annotations

from typing import Any

import pytest

from app.sandbox.faults import Fault, FaultBoard, FaultKind, InvalidFaultError, fault_from
from app.sandbox.journal import MAX_JOURNAL_ENTRIES, Journal


def test_the_oldest_matching_fault_applies_until_it_is_used_up() -> None:
    """A fault with a count of two applies twice; then the next one applies."""
    board = FaultBoard()
    board.add(Fault(kind=FaultKind.STATUS, count=2, client_id="a"))
    board.add(Fault(kind=FaultKind.EMPTY))
    kinds = [fault.kind if (fault := board.take("a", "o")) else None for _ in range(4)]
    assert kinds == [FaultKind.STATUS, FaultKind.STATUS, FaultKind.EMPTY, FaultKind.EMPTY]
    assert [fault.hits for fault in board.all()] == [2, 2]


@pytest.mark.parametrize(
    ("scope", "client", "org", "applies"),
    [
        ({}, "a", "o", True),
        ({}, None, None, True),
        ({"client_id": "a"}, "a", "o", True),
        ({"client_id": "a"}, "b", "o", False),
        ({"client_id": "a"}, None, None, False),
        ({"org": "o"}, "b", "o", True),
        ({"org": "o"}, "b", "p", False),
        ({"client_id": "a", "org": "o"}, "a", "p", False),
    ],
)
def test_a_fault_applies_to_the_clients_that_it_names(
    scope: dict[str, Any], client: str, org: str, applies: bool
) -> None:
    """A fault applies to all, to one client, to one org, or to one client in one org."""
    board = FaultBoard()
    board.add(Fault(kind=FaultKind.EMPTY, **scope))
    assert (board.take(client, org) is not None) is applies


def test_faults_are_removed() -> None:
    """One fault is removed by its id, or all at once."""
    board = FaultBoard()
    first, second = board.add(Fault(kind=FaultKind.EMPTY)), board.add(Fault(kind=FaultKind.HTML))
    assert board.clear(first.id)
    assert not board.clear(first.id)
    assert board.all() == [second]
    board.clear()
    assert board.take("a", "o") is None


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_kind_can_be_ordered(kind: FaultKind) -> None:
    """A fault needs only its kind."""
    assert fault_from({"kind": kind.value}).kind is kind


@pytest.mark.parametrize(
    "order",
    [
        None,
        [],
        {},
        {"kind": "nonsense"},
        {"kind": ["status"]},
        {"kind": "status", "status": 99},
        {"kind": "status", "status": True},
        {"kind": "status", "status": 500.5},
        {"kind": "latency", "seconds": -1},
        {"kind": "latency", "seconds": 1e9},
        {"kind": "latency", "seconds": float("nan")},
        {"kind": "status", "retry_after": "a\r\nb"},
        {"kind": "status", "retry_after": 5},
        {"kind": "empty", "count": 0},
        {"kind": "empty", "id": 5},
        {"kind": "empty", "hits": 5},
    ],
    ids=str,
)
def test_an_invalid_order_is_refused(order: object) -> None:
    """A misspelt order is an error, not a rehearsal without faults."""
    with pytest.raises(InvalidFaultError):
        fault_from(order)


def test_the_journal_is_bounded_and_its_numbers_continue() -> None:
    """The oldest entries are dropped; a cleared journal does not restart at one."""
    journal = Journal()
    for _ in range(MAX_JOURNAL_ENTRIES + 5):
        journal.add(0.0, "/ims/token", "a", "o", "issued")
    assert len(journal.entries()) == MAX_JOURNAL_ENTRIES
    assert journal.entries()[0].seq == 6
    journal.clear()
    journal.add(0.0, "/ims/token", "b", "o", "issued")
    assert [entry.seq for entry in journal.entries()] == [MAX_JOURNAL_ENTRIES + 6]
    assert journal.entries(client_id="a") == []
