"""The audit log on real files and pipes: what a line says, and what becomes of lines that cannot be written."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import select
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path

import pytest

from app.adapters.audit_log import FLUSH_SECONDS, MAX_WAITING, AuditLog
from app.domain import events
from app.domain.decision import Decision
from app.domain.events import RequestDecided
from tests.factories import ORG, REF
from tests.support.waiting import until

NOW = 1_900_000_000.25
START = {"audit": 1, "time": "2030-03-17T17:46:40.250Z"}
SHA256 = hashlib.sha256(b"eyJ.canary-token").hexdigest()
KNOWN = {"caller": "journey", "org": ORG, "credential": "default", "scope": "AdobeID openid", "generation": "3",
         "tier": "memory"}  # fmt: skip
VENDED = Decision("/token", "vend", "vended", token_sha256=SHA256, **KNOWN)  # type: ignore[arg-type]  # the tier is one
NASTY = '"}\\ \n\r\x00\x1b[2K\x85\u2028\u2029\ud800{"audit":1}'
"""What would end a line or a string, if it were not escaped."""


def request(number: int = 0, decision: Decision = VENDED) -> RequestDecided:
    """A decided request with a number of its own."""
    return RequestDecided(NOW, f"request-{number}", decision)


def emit(log: AuditLog, *told: events.Event) -> None:
    """Tell the log."""
    for event in told:
        log.emit(event)


@contextmanager
def writing(
    path: Path | None, *told: events.Event, loses: int = 0, max_waiting: int = MAX_WAITING
) -> Iterator[AuditLog]:
    """A log that writes, `told` first, until the context ends; then so many lines were lost, and none besides."""
    log = AuditLog(path, max_waiting=max_waiting)
    emit(log, *told)
    log.start()
    yield log
    asyncio.run(log.aclose())
    assert log.dropped == loses


def lines_of(path: Path, *told: events.Event) -> list[str]:
    """The lines that are in the file once a log has written `told`."""
    with writing(path, *told):
        pass
    return path.read_text().splitlines()


def numbers(content: str) -> list[int]:
    """The numbers of the requests in whole lines."""
    assert content.endswith("\n")
    return [int(json.loads(line)["request_id"].removeprefix("request-")) for line in content.splitlines()]


async def received_from(reader: int, last: str) -> str:
    """What a non-blocking pipe gives until the line that has `last` is complete."""
    received = bytearray()

    def complete() -> bool:
        with suppress(BlockingIOError):
            received.extend(os.read(reader, 1 << 16))
        return received.endswith(b"\n") and last.encode() in received[-1000:]

    await until(complete)
    return received.decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log may go, in a folder of its own; nothing is there yet."""
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs" / "audit.log"


@pytest.fixture
def full_pipe(tmp_path: Path) -> Iterator[Path]:
    """A named pipe that takes no further byte, until the test is over and the writing thread gone."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(reader, b"\n" * 4096)
    yield pipe
    os.close(reader)
    for thread in threading.enumerate():
        if thread.name == "audit-log":
            thread.join(5)
            assert not thread.is_alive()


@pytest.fixture
def torn(tmp_path: Path) -> tuple[AuditLog, Path]:
    """A log and its named pipe, whose reader went away while the first 2000 lines were written."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = AuditLog(pipe)
    emit(log, *map(request, range(2000)))
    log.start()
    held = b"\0" * 4
    asyncio.run(until(lambda: any(fcntl.ioctl(reader, termios.FIONREAD, held))))
    os.close(reader)
    asyncio.run(until(lambda: 0 < log.dropped <= 2000))
    return log, pipe


def test_a_request_is_one_line_with_the_documented_fields(path: Path) -> None:
    """A decision is told in exactly the fields of the README, and the token by 16 digits of its SHA-256 alone."""
    (line,) = lines_of(path, request(7))
    request_fields = {"event": "request", "request_id": "request-7", "token_sha256": SHA256[:16]}
    decided = {"endpoint": "/token", "action": "vend", "outcome": "vended"}
    assert json.loads(line) == {**START, **request_fields, **decided, **KNOWN}
    assert SHA256[16:24] not in line


def test_a_traced_request_names_its_trace(path: Path) -> None:
    """The line of a request that is traced has the trace's id in addition."""
    plain, traced = lines_of(path, request(7), replace(request(7), trace_id="4bf92f3577b34da6a3ce929d0e0e4736"))
    assert json.loads(traced) == {**json.loads(plain), "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}


def test_what_is_not_known_is_null(path: Path) -> None:
    """A request that was refused before anything was known of it has the same fields."""
    unknown, known = map(json.loads, lines_of(path, request(0, Decision("/token", "vend", "forbidden")), request()))
    assert unknown.keys() == known.keys()
    assert {name for name, value in unknown.items() if value is None} == {*KNOWN, "token_sha256"}


def test_purges_and_policies_are_told_and_nothing_else(path: Path) -> None:
    """A purge and a change of policy are lines of their own; other events are not the audit log's."""
    refused = events.PolicyRefused(NOW, "callers[2]: must be a mapping")
    purged = events.CredentialPurged(NOW, REF, 4, "remote")
    lines = lines_of(
        path, purged, events.CacheLookedUp("memory", "hit"), events.PolicyLoaded(NOW + 1, "0123456789ab"), refused
    )
    assert [json.loads(line) for line in lines] == [
        {**START, "event": "purge", "org": ORG, "credential": "default", "epoch": 4, "origin": "remote"},
        {"audit": 1, "time": "2030-03-17T17:46:41.250Z", "event": "policy_loaded", "version": "0123456789ab"},
        {**START, "event": "policy_refused", "reason": "callers[2]: must be a mapping"},
    ]


@pytest.mark.parametrize("name", [field.name for field in fields(Decision) if field.name != "token_sha256"])
def test_a_field_cannot_break_its_line(path: Path, name: str) -> None:
    """Control characters and quotes in a decision's field are escaped: one line stays one line."""
    nasty = replace(VENDED, **{name: NASTY})  # type: ignore[arg-type]  # here a tier is any text
    (line,) = lines_of(path, request(0, nasty))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)[name] == NASTY


def test_no_other_text_can_break_its_line(path: Path) -> None:
    """The same holds for a request's id, a policy's version and the reason of its refusal."""
    lines = lines_of(
        path, RequestDecided(NOW, NASTY, VENDED), events.PolicyLoaded(NOW, NASTY), events.PolicyRefused(NOW, NASTY)
    )
    assert [line.isascii() and line.isprintable() for line in lines] == [True] * 3
    names = ("request_id", "version", "reason")
    assert [json.loads(line)[name] for line, name in zip(lines, names, strict=True)] == [NASTY] * 3


def test_the_end_writes_what_waits_in_order(path: Path) -> None:
    """`aclose` writes all that was told before, in the order it was told, of however many kinds."""
    decisions = [replace(VENDED, caller=f"caller-{number}") for number in range(12_000)]
    with writing(path) as log:
        emit(log, *(request(number, decision) for number, decision in enumerate(decisions)))
    content = path.read_text()
    assert numbers(content) == list(range(12_000))
    assert [json.loads(line)["caller"] for line in content.splitlines()] == [made.caller for made in decisions]


def test_a_full_queue_loses_and_counts(path: Path) -> None:
    """When too many lines wait, further ones are lost and counted, and those that waited are written."""
    with writing(path, *map(request, range(1003)), loses=3, max_waiting=1000) as log:
        assert log.dropped == 3
    assert numbers(path.read_text()) == list(range(1000))


def test_a_file_is_appended_to(path: Path) -> None:
    """Lines that were there before a start stay."""
    lines_of(path, request(1))
    lines_of(path, request(2))
    assert numbers(path.read_text()) == [1, 2]


def test_a_new_file_is_not_for_all(path: Path) -> None:
    """A file is made readable for its owner and group alone, however careless the umask."""
    before = os.umask(0)
    try:
        lines_of(path, request())
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("rotated", [True, False], ids=["renamed", "removed"])
def test_a_file_that_is_gone_is_made_anew(path: Path, rotated: bool) -> None:
    """After a rotation the next line begins a new file, and the old one is let go."""
    with writing(path, request(1)) as log:
        asyncio.run(until(lambda: path.stat().st_size > 0))
        old = path.rename(path.with_suffix(".1")) if rotated else None
        path.unlink(missing_ok=True)
        emit(log, request(2))
    assert numbers(path.read_text()) == [2]
    assert old is None or numbers(old.read_text()) == [1]


def test_lines_without_a_place_are_counted_until_it_is_back(path: Path) -> None:
    """While the folder is away its lines are lost and counted; once it is back, the next line is written."""
    with writing(path, loses=2) as log:
        path.unlink()
        path.parent.rmdir()
        emit(log, request(1), request(2))
        asyncio.run(until(lambda: log.dropped == 2))
        path.parent.mkdir()
        emit(log, request(3))
    assert numbers(path.read_text()) == [3]


def test_a_start_needs_a_place(path: Path) -> None:
    """A file that cannot be opened fails the start, rather than every line after it; the end is quiet."""
    log = AuditLog(path / "audit.log")
    with pytest.raises(FileNotFoundError):
        log.start()
    asyncio.run(log.aclose())


def test_a_torn_line_spoils_no_other(torn: tuple[AuditLog, Path]) -> None:
    """After a line that was cut short, the next one begins on a line of its own."""
    log, pipe = torn
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    emit(log, request(2000))
    content = asyncio.run(received_from(reader, "request-2000"))
    asyncio.run(log.aclose())
    os.close(reader)
    *_, stump, whole, nothing = content.split("\n")
    assert (numbers(f"{whole}\n"), nothing) == ([2000], "")
    with pytest.raises(json.JSONDecodeError):
        json.loads(stump)


def test_a_torn_line_is_left_in_the_file_that_has_it(torn: tuple[AuditLog, Path]) -> None:
    """A file that takes the place of one with a torn line begins with a line."""
    log, path = torn
    path.rename(path.with_suffix(".1"))
    emit(log, request(2000))
    asyncio.run(log.aclose())
    assert numbers(path.read_text()) == [2000]


def test_a_torn_line_of_an_earlier_process_spoils_no_other(path: Path) -> None:
    """Where a killed process, or a full disk, left a line that was cut short, the next one begins on its own line."""
    path.write_text('{"audit":1,"ti')
    lines_of(path, request(1))
    assert numbers(path.read_text().partition("\n")[2]) == [1]


def test_standard_output_is_the_default(capfd: pytest.CaptureFixture[str]) -> None:
    """Without a file the lines go to standard output, which stays open afterwards."""
    with writing(None, request(1)):
        pass
    os.write(1, b"open\n")
    line, rest = capfd.readouterr().out.split("\n", 1)
    assert (numbers(f"{line}\n"), rest) == ([1], "open\n")


def test_a_non_blocking_standard_output_loses_nothing() -> None:
    """Where somebody made standard output non-blocking, the log waits for room instead of losing lines."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    before = os.dup(1)
    os.dup2(writer, 1)
    try:
        with writing(None, *map(request, range(1000))):
            asyncio.run(until(lambda: not select.select([], [writer], [], 0)[1]))
            content = asyncio.run(received_from(reader, "request-999"))
    finally:
        os.dup2(before, 1)
    for descriptor in (reader, writer, before):
        os.close(descriptor)
    assert numbers(content) == list(range(1000))


def test_a_stuck_descriptor_does_not_hold_up_the_end(full_pipe: Path) -> None:
    """When nobody reads, the end waits a bounded time."""
    log = AuditLog(full_pipe)
    log.start()
    emit(log, request(1))
    began = time.monotonic()
    asyncio.run(log.aclose())
    assert FLUSH_SECONDS * 0.9 < time.monotonic() - began < FLUSH_SECONDS + 5


def test_lines_that_are_stuck_at_the_end_are_counted(full_pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is not written at the end is counted as lost: the lines in the stuck write, and those behind them."""
    monkeypatch.setattr("app.adapters.audit_log.log.FLUSH_SECONDS", 0.3)
    with writing(full_pipe, *map(request, range(7000)), loses=7000):
        pass
