"""Fault orders and the journal."""

from __future__ import annotations

from typing import Any

import pytest

from app.sandbox.faults import Fault, FaultBoard, FaultKind, FaultOrderError, fault_from
from app.sandbox.journal import MAX_ENTRIES, Journal


def test_the_oldest_matching_order_strikes_until_it_is_used_up() -> None:
    """An order with a count of two strikes twice; then the next one does."""
    board = FaultBoard()
    board.add(Fault(kind=FaultKind.STATUS, count=2, client_id="a"))
    board.add(Fault(kind=FaultKind.EMPTY))
    kinds = [fault.kind if (fault := board.take("a", "o")) else None for _ in range(4)]
    assert kinds == [FaultKind.STATUS, FaultKind.STATUS, FaultKind.EMPTY, FaultKind.EMPTY]
    assert [fault.hits for fault in board.all()] == [2, 2]


@pytest.mark.parametrize(
    ("scope", "client", "org", "strikes"),
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
def test_an_order_strikes_whom_it_names(scope: dict[str, Any], client: str, org: str, strikes: bool) -> None:
    """An order is for all, for one client, for one org, or for one client in one org."""
    board = FaultBoard()
    board.add(Fault(kind=FaultKind.EMPTY, **scope))
    assert (board.take(client, org) is not None) is strikes


def test_orders_are_taken_down() -> None:
    """One by its id, or all."""
    board = FaultBoard()
    first, second = board.add(Fault(kind=FaultKind.EMPTY)), board.add(Fault(kind=FaultKind.HTML))
    assert board.clear(first.id)
    assert not board.clear(first.id)
    assert board.all() == [second]
    board.clear()
    assert board.take("a", "o") is None


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_kind_can_be_ordered(kind: FaultKind) -> None:
    """The name of a kind is all an order needs."""
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
def test_an_order_that_makes_no_sense_is_refused(order: object) -> None:
    """A misspelt rehearsal must not pass for a quiet one."""
    with pytest.raises(FaultOrderError):
        fault_from(order)


def test_the_journal_is_bounded_and_its_numbers_go_on() -> None:
    """The oldest entries leave; a cleared journal does not count from one again."""
    journal = Journal()
    for _ in range(MAX_ENTRIES + 5):
        journal.add(0.0, "/ims/token", "a", "o", "issued")
    assert len(journal.entries()) == MAX_ENTRIES
    assert journal.entries()[0].seq == 6
    journal.clear()
    journal.add(0.0, "/ims/token", "b", "o", "issued")
    assert [entry.seq for entry in journal.entries()] == [MAX_ENTRIES + 6]
    assert journal.entries(client_id="a") == []
