"""Row 83: the checker of the soak sees each broken invariant, by the recorded history alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.soak.fault_plan import CALM_SECONDS, fault_plan
from tests.faults.soak.history_check import HistoryCheck, Violation
from tests.faults.soak.observer import secrets_in
from tests.faults.soak.records import (
    AskedToken,
    Begun,
    Disturbed,
    Exchanged,
    Measured,
    PolicyChanged,
    PurgeAsked,
    Record,
    RecordedHistory,
    SecretFound,
    loaded,
)
from tests.faults.soak.slopes import slopes
from tests.support.invariants import LONGEST_REQUEST, Invariant

ORG, OTHER = "A@AdobeOrg", "B@AdobeOrg"
BEGUN = Begun(1, {ORG: "client-a", OTHER: "client-b"}, {ORG: 40.0, OTHER: 240.0}, ["stranger"])
GOOD = AskedToken(100.0, 100.1, 0, "app", ORG, status=200, client_id="client-a", minted_at=90.0, expires_at=130.0)
FAILED = replace(GOOD, status=503, code="ims_unavailable", client_id="", minted_at=0.0, expires_at=0.0)
DENIED = PolicyChanged(90.0, "app", ORG, allowed=False)
PURGED = PurgeAsked(95.0, 95.1, 1, ORG, 204)
IMS_DOWN = Disturbed("kill", "ims", 95.0, 105.0)
REDIS_DOWN = Disturbed("freeze", "redis", 95.0, 105.0)


def found(*records: Record) -> list[Violation]:
    """The violations in a history."""
    return HistoryCheck(RecordedHistory([BEGUN, *records])).violations()


def measured(name: str, value: Callable[[int], float], seconds: int = 600) -> list[Measured]:
    """A measurement of replica 0 every 10 s."""
    return [Measured(float(at), 0, 1, {name: value(at)}) for at in range(0, seconds, 10)]


BROKEN: dict[str, tuple[Invariant, list[Record]]] = {
    "the token of another client": (Invariant.I1, [replace(GOOD, client_id="client-b")]),
    "a token for a caller without rights": (Invariant.I2, [replace(GOOD, caller="stranger")]),
    "a token 10 s after the right was taken away": (Invariant.I2, [DENIED, GOOD]),
    "an expired token": (Invariant.I3, [replace(GOOD, expires_at=100.05)]),
    "an expired token over a broken link": (
        Invariant.I3,
        [replace(GOOD, expires_at=99.0), Disturbed("drip", "clients-0", 99.0, 101.0)],
    ),
    "less life than was asked for": (Invariant.I3, [replace(GOOD, min_ttl=60.0)]),
    "a purged token from the replica that purged": (Invariant.I3, [PURGED, replace(GOOD, replica=1)]),
    "a purged token from another replica": (Invariant.I3, [PURGED, replace(GOOD, at=106.0, ended=106.1)]),
    "an exchange for each request": (Invariant.I4, [Exchanged(90.0 + n / 10, OTHER, "issued") for n in range(4)]),
    "no pause after a failure": (
        Invariant.I4,
        [IMS_DOWN, *(Exchanged(95.0 + n / 10, ORG, "status") for n in range(40))],
    ),
    "a secret in a log": (Invariant.I5, [SecretFound("replica-0.err", "a token")]),
    "a request that hangs": (Invariant.I6, [replace(FAILED, ended=100.0 + LONGEST_REQUEST + 2.0), IMS_DOWN]),
    "a request that hangs although its replica stood still for a moment": (
        Invariant.I6,
        [replace(FAILED, ended=118.0), Disturbed("freeze", "replica-0", 101.0, 102.0)],
    ),
    "memory that grows": (Invariant.I7, list(measured("rss", lambda at: 1e8 + 40_000 * at))),
    "descriptors that are not closed": (Invariant.I7, list(measured("descriptors", lambda at: at / 10))),
    "tasks without an end": (Invariant.I7, list(measured("tasks", lambda at: at / 10))),
    "threads without an end": (Invariant.I7, list(measured("threads", lambda at: at / 50))),
    "keys without an end": (Invariant.I7, list(measured("redis_keys", lambda at: at / 5))),
    "memory of Redis that grows": (Invariant.I7, list(measured("redis_memory", lambda at: 2e4 * at))),
    "a failure although nothing is broken": (Invariant.I8, [FAILED]),
    "a report that fails although nothing is broken": (Invariant.I8, [replace(FAILED, purpose="report")]),
    "no answer although nothing is broken": (Invariant.I8, [replace(FAILED, status=None)]),
    "a refusal after the right was given": (Invariant.I8, [replace(DENIED, allowed=True), replace(FAILED, status=403)]),
    "a failure although only Redis is broken": (Invariant.I8, [FAILED, REDIS_DOWN]),
    "a failure of a warm tenant while IMS is down": (
        Invariant.I8,
        [replace(GOOD, at=96.0, ended=96.1), FAILED, IMS_DOWN],
    ),
    "a failure of a tenant whose purge all replicas knew while IMS is down": (
        Invariant.I8,
        [replace(PURGED, at=60.0, ended=60.1), replace(GOOD, at=96.0, ended=96.1), FAILED, IMS_DOWN],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_invariant_is_found(name: str) -> None:
    """A history that breaks one invariant gives a violation of that one, and of no other."""
    invariant, records = BROKEN[name]
    assert {violation.invariant for violation in found(*records)} == {invariant}


EXCUSED: dict[str, list[Record]] = {
    "a good answer": [GOOD],
    "an answer within 5 s of the change": [replace(DENIED, at=97.0), GOOD],
    "an answer of a replica that stood still since the change": [
        DENIED,
        GOOD,
        Disturbed("freeze", "replica-0", 91.0, 99.5),
    ],
    "a token that expired while a link dripped": [
        replace(GOOD, ended=110.0, expires_at=105.0),
        Disturbed("drip", "clients-0", 99.0, 111.0),
    ],
    "a purge that Redis could not tell the others": [PURGED, replace(GOOD, at=106.0, ended=106.1), REDIS_DOWN],
    "a purge whose replica was killed": [
        PURGED,
        replace(GOOD, replica=1),
        Disturbed("kill", "replica-1", 96.0, 98.0),
    ],
    "a token from after the purge": [PURGED, replace(GOOD, replica=1, minted_at=95.05)],
    "a purge that failed": [replace(PURGED, status=503), replace(GOOD, replica=1)],
    "a failure of a cold tenant while IMS is down": [FAILED, IMS_DOWN],
    "a failure of another replica's tenant while IMS is down": [
        replace(GOOD, at=96.0, ended=96.1, replica=1),
        FAILED,
        IMS_DOWN,
    ],
    "a failure of a tenant whose token ends": [
        replace(GOOD, at=96.0, ended=96.1, expires_at=101.0),
        FAILED,
        IMS_DOWN,
    ],
    "a failure after a purge while IMS is down": [replace(GOOD, at=94.0, ended=94.1), PURGED, FAILED, IMS_DOWN],
    "a failure after a replica learned late of a purge": [
        replace(PURGED, at=80.0, ended=80.1),
        Disturbed("flush", "redis-data", 82.0, 82.1),
        replace(GOOD, at=96.0, ended=96.1),
        FAILED,
        IMS_DOWN,
    ],
    "a failure of a replica that was restarted while IMS is down": [
        replace(GOOD, at=95.0, ended=95.1),
        Disturbed("kill", "replica-0", 96.0, 97.0),
        FAILED,
        IMS_DOWN,
    ],
    "no answer of a replica that was killed": [
        replace(FAILED, status=None),
        Disturbed("kill", "replica-0", 99.9, 103.0),
    ],
    "a refusal": [DENIED, replace(FAILED, status=403)],
    "a request that waits for a replica that stands still": [
        replace(FAILED, ended=118.0),
        Disturbed("freeze", "replica-0", 99.0, 117.0),
    ],
    "a normal number of exchanges": [Exchanged(90.0, OTHER, "issued")],
    "more exchanges after a fault": [IMS_DOWN, *(Exchanged(96.0 + n, OTHER, "status") for n in range(9))],
    "memory that rises and falls": list(measured("rss", lambda at: 1e8 + 5e6 * (at % 100 == 0))),
    "memory that grows before it is warm": list(measured("rss", lambda at: 1e8 + 1e6 * min(at, 50))),
    "a process that lived for too short a time": list(measured("rss", lambda at: 1e8 + 1e6 * at, seconds=120)),
}


@pytest.mark.parametrize("name", EXCUSED)
def test_what_is_allowed_is_not_a_violation(name: str) -> None:
    """What a fault explains, and what no promise is about, is not a violation."""
    assert found(*EXCUSED[name]) == []


def test_a_secret_is_found_wherever_it_is() -> None:
    """A secret is found in any place, and so is an access token that no one listed; other text is not."""
    token = "eyJhbGciOiJSUzI1NiJ9abc.eyJvcmciOiJhIn0xyzabcdefgh.c2lnbmF0dXJlLW9mLWEtdG9rZW4"
    places = {"log": b"x p8e-abcdefgh y", "metrics": token.encode(), "answers": b"ims_unavailable"}
    assert list(secrets_in(places, {"client secret": "p8e-abcdefgh"})) == [
        ("log", "client secret"),
        ("metrics", "a token"),
    ]


def test_a_slope_is_that_of_the_line_through_the_values() -> None:
    """Values that rise by 2 in 10 s rise by 720 in an hour, and their mean is that of the judged time."""
    [slope] = slopes(measured("tasks", lambda at: at / 5))
    assert slope.per_hour == pytest.approx(720)
    assert slope.mean == pytest.approx((60 + 590) / 2 / 5)
    assert (slope.count, slope.seconds) == (54, 530)


def test_a_seed_gives_the_same_faults_again() -> None:
    """Two plans of a seed are equal, those of two seeds differ, and after each storm nothing is planned."""
    plan = fault_plan(17, 300.0)
    assert plan == fault_plan(17, 300.0)
    assert plan != fault_plan(18, 300.0)
    assert len(plan) > 60
    assert max(fault.at + fault.seconds for fault in plan) <= 300.0 - CALM_SECONDS
    assert len({fault.kind for fault in plan}) > 15


def test_a_history_is_the_same_after_it_was_written(tmp_path: Path) -> None:
    """All kinds of records are read back from the file as they were."""
    records: list[Record] = [BEGUN, GOOD, DENIED, PURGED, IMS_DOWN, Exchanged(1.0, ORG, "issued")]
    records += [*measured("rss", float)[:1], SecretFound("place", "secret")]
    history = RecordedHistory(path=tmp_path / "history.jsonl")
    for record in records:
        history.add(record)
    history.close()
    assert loaded(tmp_path / "history.jsonl").records == records
