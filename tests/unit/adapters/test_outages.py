"""Which failure of an external system is new to the log, and which success ends it."""

from __future__ import annotations

from app.adapters.json_logs.outages import OutageChange, Outages
from app.domain.events import DependencyCalled

FAILS, AGAIN, KNOWN = OutageChange.BEGAN, OutageChange.ENDED, OutageChange.NONE


def changes(*calls: tuple[str, str, str | None]) -> list[OutageChange]:
    """What each call to Redis says that is new: operation, outcome, reason."""
    outages = Outages()
    return [outages.change(DependencyCalled("redis", *call[:2], 0.1, call[2])) for call in calls]


def test_another_reason_is_reported_too() -> None:
    """A system that fails in two ways is reported for each once, and one success ends both."""
    down, slow = ("read", "unreachable", "down"), ("store", "timeout", "slow")
    assert changes(down, slow, down, slow, ("read", "ok", None), ("store", "ok", None), down) == [
        FAILS, FAILS, KNOWN, KNOWN, AGAIN, KNOWN, FAILS,
    ]  # fmt: skip


def test_a_refused_operation_is_reported_once_while_others_succeed() -> None:
    """A read-only replica is reported once, however many reads succeed, until a refused operation succeeds."""
    refused = ("store", "read_only", "replica")
    read = ("read", "ok", None)
    assert changes(refused, read, refused, read, ("acquire", "read_only", "replica"), ("store", "ok", None), read) == [
        FAILS, KNOWN, KNOWN, KNOWN, KNOWN, AGAIN, KNOWN,
    ]  # fmt: skip


def test_an_outage_ends_although_an_operation_stays_refused() -> None:
    """The end of an outage is reported even while the access list still denies an operation."""
    denied = ("claim", "forbidden", "denied")
    assert changes(denied, ("read", "timeout", "slow"), ("read", "ok", None), denied) == [FAILS, FAILS, AGAIN, KNOWN]


def test_a_skipped_call_is_never_new() -> None:
    """A call that the breaker skipped is not reported: the failures before it were."""
    assert changes(("read", "timeout", "slow"), ("read", "skipped", "again"), ("read", "ok", None)) == [
        FAILS, KNOWN, AGAIN,
    ]  # fmt: skip


def test_systems_fail_separately() -> None:
    """A success of one system does not end the outage of another."""
    outages = Outages()
    assert outages.change(DependencyCalled("vault", "read", "credential_store_unavailable", 0.1, "sealed")) is FAILS
    assert outages.change(DependencyCalled("redis", "read", "ok", 0.1)) is KNOWN
    assert outages.change(DependencyCalled("vault", "read", "ok", 0.1)) is AGAIN
