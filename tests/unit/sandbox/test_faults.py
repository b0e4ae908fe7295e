"""Faults and the journal."""

from __future__ import annotations

from typing import Any

import pytest

from app.sandbox.faults import Fault, FaultBoard, FaultKind, InvalidFaultError, fault_from
from app.sandbox.journal import MAX_JOURNAL_ENTRIES, Journal
from tests.support.manual_time import ManualTime


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


@pytest.mark.parametrize(
    ("path", "struck"),
    [
        (None, {"/ims/token/v3", "/ims/exchange/jwt"}),
        ("/ims/token", {"/ims/token/v3"}),
        ("/imp/messages", {"/imp/messages"}),
        ("/console", {"/console/organizations"}),
        ("/", {"/ims/token/v3", "/ims/exchange/jwt", "/imp", "/imp/messages", "/console/organizations"}),
    ],
)
def test_a_fault_applies_to_the_paths_that_it_names(path: str | None, struck: set[str]) -> None:
    """Without a path a fault strikes exchanges only; with one, whatever begins like it."""
    board = FaultBoard()
    board.add(fault_from({"kind": "empty", "path": path}))
    paths = ["/ims/token/v3", "/ims/exchange/jwt", "/imp", "/imp/messages", "/console/organizations"]
    assert {one for one in paths if board.take("a", "o", one)} == struck


@pytest.mark.parametrize(("share", "hits"), [(1.0, 100), (0.5, 50), (0.29, 29), (0.01, 1)])
def test_a_fault_applies_to_a_share_of_the_exchanges(share: float, hits: int) -> None:
    """Of 100 exchanges, exactly the share is struck, evenly spread; the others meet the next fault."""
    board = FaultBoard()
    board.add(Fault(kind=FaultKind.STATUS, share=share))
    board.add(Fault(kind=FaultKind.EMPTY))
    struck = [
        fault is not None and fault.kind is FaultKind.STATUS for fault in (board.take("a", "o") for _ in range(100))
    ]
    assert sum(struck) == hits
    assert sum(struck[:50]) in {hits // 2, (hits + 1) // 2}
    assert [fault.hits for fault in board.all()] == [hits, 100 - hits]


def test_a_fault_ends_by_itself() -> None:
    """A fault that lasts a minute no longer strikes after a minute, and is then shown as ended."""
    time = ManualTime()
    board = FaultBoard(time.now)
    board.add(Fault(kind=FaultKind.EMPTY, lasts=60))
    time.advance(59)
    assert board.take("a", "o") is not None
    assert [fault["active"] for fault in board.described()] == [True]
    time.advance(1)
    assert board.take("a", "o") is None
    assert [fault["active"] for fault in board.described()] == [False]


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
        {"kind": "empty", "seen": 5},
        {"kind": "empty", "ends_at": 5},
        {"kind": "empty", "share": 0},
        {"kind": "empty", "share": 1.5},
        {"kind": "empty", "lasts": 0},
        {"kind": "empty", "path": ""},
        {"kind": "empty", "path": "imp"},
        {"kind": "empty", "path": "/sandbox/faults"},
        {"kind": "wrong_unit", "path": "/imp"},
        {"kind": "wrong_unit", "path": "/"},
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


def test_calls_of_apis_never_push_exchanges_out_of_the_journal() -> None:
    """However many API calls there are, the exchanges stay; both are listed in the order of their numbers."""
    journal = Journal()
    journal.add(0.0, "/ims/token", "a", "o", "issued")
    for _ in range(MAX_JOURNAL_ENTRIES + 5):
        journal.add(0.0, "/imp", "a", "o", "ok")
    journal.add(0.0, "/ims/token", "a", "o", "issued")
    assert [entry.seq for entry in journal.entries()] == [1, MAX_JOURNAL_ENTRIES + 7]
    assert [entry.seq for entry in journal.entries(endpoint="")][:2] == [1, 7]
    assert journal.entries(endpoint="")[-1].outcome == "issued"
