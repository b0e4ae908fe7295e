"""The chained audit log on real files: whatever happens to the disk and the process, what was written verifies."""

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

from app.adapters.audit_log import MAX_WAITING, AuditLog
from app.audit.files import lines_of
from app.audit.follow import Finding
from app.audit.lines import MAX_LINE, unwrapped
from app.audit.verify import AuditVerifier
from app.domain.audit_chain import GENESIS
from app.domain.events import PolicyLoaded
from tests.support.waiting import until

NOW = 1_900_000_000.25


def verified(*paths: Path) -> tuple[list[Finding], AuditVerifier]:
    """What is found in files."""
    verifier = AuditVerifier()
    lines = (line for path in paths for line in unwrapped(path.name, lines_of(str(path), MAX_LINE, lambda _read: None)))
    return list(verifier.findings(lines)), verifier


def emit(log: AuditLog, *numbers: int) -> None:
    """Tell the log of so many policies."""
    for number in numbers:
        log.emit(PolicyLoaded(NOW, f"v{number}"))


@contextmanager
def writing(path: Path | None, *numbers: int, max_waiting: int = MAX_WAITING) -> Iterator[AuditLog]:
    """A chained log that writes until the context ends."""
    log = AuditLog(path, chained=True, max_waiting=max_waiting)
    emit(log, *numbers)
    log.start()
    yield log
    asyncio.run(log.aclose())


def told(path: Path) -> list[str]:
    """The events of a file's lines, and the versions of policies."""
    records = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return [record.get("version", record["event"]) for record in records]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log may go."""
    return tmp_path / "audit.log"


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files of this process can be no longer than 4000 bytes, until the test lifts that."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_chain_begins_and_ends(path: Path) -> None:
    """A run is one chain from its start to its clean end."""
    with writing(path, 1, 2):
        pass
    assert told(path) == ["chain_started", "v1", "v2", "chain_ended"]
    first = json.loads(path.read_text().splitlines()[0])
    assert (first["seq"], first["prev"], first["after_chain"], first["after_seq"]) == (1, GENESIS, None, None)
    found, verifier = verified(path)
    assert found == []
    assert [(chain.lines, chain.ended) for chain in verifier.chains()] == [(4, True)]


def test_many_batches_are_one_chain(path: Path) -> None:
    """Batches do not break the chain."""
    with writing(path, *range(12_000)):
        pass
    found, verifier = verified(path)
    assert (found, verifier.chains()[0].lines) == ([], 12_002)


def test_a_restart_follows_the_last_line(path: Path) -> None:
    """The next start draws a chain of its own, and ties it to the last line of the file."""
    for number in range(3):
        with writing(path, number):
            pass
    found, verifier = verified(path)
    assert found == []
    assert len({chain.head.chain for chain in verifier.chains()}) == 3
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert "Between audit.log line 2 and audit.log line 3" in verified(path)[0][0].sentence


def test_a_rotation_goes_on(path: Path) -> None:
    """A chain goes on in the file that takes the place of the rotated one; without the latter it is missed."""
    with writing(path, 1) as log:
        asyncio.run(until(lambda: path.exists() and "v1" in path.read_text()))
        old = path.rename(path.with_suffix(".1"))
        emit(log, 2)
    assert verified(old, path)[0] == []
    assert verified(path)[0][0].is_fault
    assert verified(path, old)[0] != []


def test_lines_that_overflowed_are_told(path: Path) -> None:
    """Lines that were lost since too many waited leave no gap; a line says how many they were."""
    with writing(path, *range(1003), max_waiting=1000) as log:
        assert log.dropped == 3
    found, verifier = verified(path)
    assert found == []
    assert verifier.chains()[0].lost == 3


def test_a_full_disk_is_told(path: Path, full_disk: None) -> None:
    """After a full disk the chain goes on: the torn line is told as torn, and the lost ones are counted right."""
    with writing(path, *range(50)) as log:
        asyncio.run(until(lambda: log.dropped > 0))
        there = told(path)
        lost = log.dropped
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit[1], limit[1]))
        emit(log, 50)
    assert told(path) == [*there, "lines_lost", "v50", "chain_ended"]
    assert lost == 50 - (len(there) - 1)
    found, verifier = verified(path)
    assert [(one.is_fault, "torn" in one.sentence) for one in found] == [(False, True)]
    assert verifier.chains()[0].lost == lost


@pytest.mark.parametrize("missing", [0, 1])
def test_a_disk_that_is_full_at_the_end_of_a_line_tears_nothing(path: Path, missing: int) -> None:
    """Where the disk is full right after or right before a newline, no line is torn and none is written twice."""
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
    assert told(path) == ["chain_started", "v0", "v1", "lines_lost", "v5", "chain_ended"]
    assert verified(path)[0] == []


def test_a_line_torn_by_the_end_of_a_process_is_told_as_torn(path: Path) -> None:
    """What a killed process left of a line is torn, whatever its length; the next start follows the line before."""
    with writing(path, 1, 2):
        pass
    whole = path.read_bytes()
    for keep in range(1, len(whole.splitlines()[-1]) - 1, 7):
        path.write_bytes(whole + whole.splitlines()[-1][:keep])
        with writing(path, 3):
            pass
        assert [one.is_fault for one in verified(path)[0]] == [False], keep


def test_what_is_in_the_file_before_the_first_chain_is_not_followed(path: Path) -> None:
    """A chain that is turned on later begins anew, whatever it finds in the file."""
    path.write_text('{"audit":1,"event":"purge"}\n[1]\nhello\n')
    with writing(path, 1):
        pass
    assert [one.place.number for one in verified(path)[0]] == [1, 2, 3]


def test_standard_output_is_a_chain_too(capfd: pytest.CaptureFixture[str], path: Path) -> None:
    """Without a file the chain goes to standard output, tied to nothing."""
    with writing(None, 1):
        pass
    os.write(1, b"")
    path.write_text(capfd.readouterr().out)
    assert verified(path)[0] == []
