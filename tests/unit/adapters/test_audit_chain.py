"""The chained audit log on real files: whatever happens to the disk and the process, the written lines verify."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.adapters.audit_log import MAX_WAITING_AUDIT_LINES, AuditLog
from app.audit.files import lines_of
from app.audit.follow import Finding
from app.audit.lines import MAX_LINE, unwrapped
from app.audit.verify import AuditVerifier
from app.domain.audit_chain import GENESIS
from app.domain.events import PolicyLoaded
from tests.support.waiting import until

NOW = 1_900_000_000.25


def verified(*paths: Path) -> tuple[list[Finding], AuditVerifier]:
    """The findings in files."""
    verifier = AuditVerifier()
    lines = (line for path in paths for line in unwrapped(path.name, lines_of(str(path), MAX_LINE, lambda _read: None)))
    return list(verifier.findings(lines)), verifier


def emit(log: AuditLog, *numbers: int) -> None:
    """Emit an event for each number."""
    for number in numbers:
        log.emit(PolicyLoaded(NOW, f"v{number}"))


@contextmanager
def writing(path: Path | None, *numbers: int, max_waiting: int = MAX_WAITING_AUDIT_LINES) -> Iterator[AuditLog]:
    """A chained log that writes until the context ends."""
    log = AuditLog(path, chained=True, max_waiting=max_waiting)
    emit(log, *numbers)
    log.start()
    yield log
    asyncio.run(log.aclose())


def events_in(path: Path) -> list[str]:
    """The event of each line of a file, or the version if it is a policy."""
    records = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return [record.get("version", record["event"]) for record in records]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a log."""
    return tmp_path / "audit.log"


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files of this process are limited to 4000 bytes, until the test lifts the limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_chain_begins_and_ends(path: Path) -> None:
    """A process writes one chain from its start to its clean end."""
    with writing(path, 1, 2):
        pass
    assert events_in(path) == ["chain_started", "v1", "v2", "chain_ended"]
    first = json.loads(path.read_text().splitlines()[0])
    assert (first["seq"], first["prev"], first["after_chain"], first["after_seq"]) == (1, GENESIS, None, None)
    found, verifier = verified(path)
    assert found == []
    assert [(chain.lines, chain.ended) for chain in verifier.chains()] == [(4, True)]


def test_many_batches_are_one_chain(path: Path) -> None:
    """Writing in batches does not break the chain."""
    with writing(path, *range(12_000)):
        pass
    found, verifier = verified(path)
    assert (found, verifier.chains()[0].lines) == ([], 12_002)


def test_a_restart_follows_the_last_line(path: Path) -> None:
    """The next start begins a new chain that names the last line of the file."""
    for number in range(3):
        with writing(path, number):
            pass
    found, verifier = verified(path)
    assert found == []
    assert len({chain.head.chain for chain in verifier.chains()}) == 3
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert "Between audit.log line 2 and audit.log line 3" in verified(path)[0][0].sentence


def test_a_chain_continues_after_a_rotation(path: Path) -> None:
    """A chain continues in the file that replaces the rotated one; without the rotated file a gap is reported."""
    with writing(path, 1) as log:
        asyncio.run(until(lambda: path.exists() and "v1" in path.read_text()))
        old = path.rename(path.with_suffix(".1"))
        emit(log, 2)
    assert verified(old, path)[0] == []
    assert verified(path)[0][0].is_fault
    assert verified(path, old)[0] != []


def test_lines_that_overflowed_are_reported(path: Path) -> None:
    """Lines lost because too many were waiting leave no gap; one line reports how many."""
    with writing(path, *range(1003), max_waiting=1000) as log:
        assert log.dropped == 3
    found, verifier = verified(path)
    assert found == []
    assert verifier.chains()[0].lost == 3


def test_a_full_disk_is_reported(path: Path, full_disk: None) -> None:
    """After a full disk the chain continues: the torn line is reported as torn, and the lost ones are counted."""
    with writing(path, *range(50)) as log:
        asyncio.run(until(lambda: log.dropped > 0))
        there = events_in(path)
        lost = log.dropped
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit[1], limit[1]))
        emit(log, 50)
    assert events_in(path) == [*there, "lines_lost", "v50", "chain_ended"]
    assert lost == 50 - (len(there) - 1)
    found, verifier = verified(path)
    assert [(one.is_fault, "torn" in one.sentence) for one in found] == [(False, True)]
    assert verifier.chains()[0].lost == lost


def test_a_full_disk_costs_a_blocking_log_nothing(path: Path, full_disk: None) -> None:
    """With `BROKER_AUDIT_OVERFLOW=block`, all lines are written once there is room, the torn one again."""
    log = AuditLog(path, chained=True, blocks=True)
    emit(log, *range(50))
    log.start()
    asyncio.run(until(lambda: path.exists() and path.stat().st_size == 4000))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit[1], limit[1]))
    asyncio.run(until(lambda: "v49" in path.read_text()))
    asyncio.run(log.aclose())
    assert (log.dropped, events_in(path)) == (
        0,
        ["chain_started", *(f"v{number}" for number in range(50)), "chain_ended"],
    )
    assert [(one.is_fault, "torn" in one.sentence) for one in verified(path)[0]] == [(False, True)]


@pytest.mark.parametrize("missing", [0, 1])
def test_a_disk_that_is_full_at_the_end_of_a_line_tears_nothing(path: Path, missing: int) -> None:
    """If the disk is full right after or right before a newline, no line is torn and none is written twice."""
    with writing(path, *range(5)):
        pass
    room = len(b"".join(path.read_bytes().splitlines(keepends=True)[:3])) - missing
    path.unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with writing(path, *range(5)) as log:
            asyncio.run(until(lambda: log.dropped > 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            emit(log, 5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert events_in(path) == ["chain_started", "v0", "v1", "lines_lost", "v5", "chain_ended"]
    assert verified(path)[0] == []


@pytest.mark.parametrize("left", [0, 1, 20, -1, -20])
def test_a_file_that_someone_truncates_loses_no_later_line(path: Path, left: int) -> None:
    """If the file is cut within a line while it is written to, the next line is whole, and what is gone is found."""
    with writing(path, *range(3)) as log:
        asyncio.run(until(lambda: path.exists() and path.read_bytes().count(b"\n") == 4))
        whole = path.read_bytes()
        os.truncate(path, left % len(whole))
        emit(log, 3)
    kept = path.read_bytes().splitlines()
    assert [line for line in kept if b'"v3"' in line and json.loads(line)["version"] == "v3"]
    assert not any(b'"v3"' in line and not line.startswith(b"{") for line in kept)
    findings, _ = verified(path)
    assert bool(findings) is (left != -1)  # which cuts off a newline alone


def test_a_line_torn_by_the_end_of_a_process_is_reported_as_torn(path: Path) -> None:
    """The rest of a killed process's line is torn, whatever its length; the next start follows the line before."""
    with writing(path, 1, 2):
        pass
    whole = path.read_bytes()
    for keep in range(1, len(whole.splitlines()[-1]) - 1, 7):
        path.write_bytes(whole + whole.splitlines()[-1][:keep])
        with writing(path, 3):
            pass
        assert [one.is_fault for one in verified(path)[0]] == [False], keep


def test_lines_before_the_first_chain_are_not_followed(path: Path) -> None:
    """A chain that is enabled later starts afresh, whatever is in the file."""
    path.write_text('{"audit":1,"event":"purge"}\n[1]\nhello\n')
    with writing(path, 1):
        pass
    assert [one.place.number for one in verified(path)[0]] == [1, 2, 3]


def test_standard_output_is_a_chain_of_its_own(capfd: pytest.CaptureFixture[str], path: Path) -> None:
    """Without a file the chain is written to standard output and names no earlier line."""
    with writing(None, 1):
        pass
    os.write(1, b"")
    path.write_text(capfd.readouterr().out)
    assert verified(path)[0] == []
