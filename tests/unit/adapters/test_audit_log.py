"""The audit log on real files and pipes: the fields of a line, and lines that cannot be written."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import resource
import select
import signal
import termios
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path

import pytest

from app.adapters.audit_log import FLUSH_SECONDS, MAX_WAITING_AUDIT_LINES, AuditLog
from app.adapters.audit_log.audit_lines import AuditLines
from app.adapters.audit_log.output import Output
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
TEXTS = [field.name for field in fields(Decision) if field.name != "is_shared" and not field.name.endswith("_sha256")]
NASTY = '"}\\ \n\r\x00\x1b[2K\x85\u2028\u2029\ud800{"audit":1}'
"""Characters that would end a line or a string if they were not escaped."""


def request(number: int = 0, decision: Decision = VENDED) -> RequestDecided:
    """A decided request with this number in its id."""
    return RequestDecided(NOW, f"request-{number}", decision)


def emit(log: AuditLog, *emitted: events.Event) -> None:
    """Emit these events."""
    for event in emitted:
        log.emit(event)


@contextmanager
def writing(
    path: Path | None,
    *emitted: events.Event,
    loses: int = 0,
    max_waiting: int = MAX_WAITING_AUDIT_LINES,
    blocks: bool = False,
) -> Iterator[AuditLog]:
    """A log that writes until the context ends, first what was `emitted`; in the end it lost exactly `loses` lines."""
    log = AuditLog(path, max_waiting=max_waiting, blocks=blocks)
    emit(log, *emitted)
    log.start()
    yield log
    asyncio.run(log.aclose())
    assert log.dropped == loses


def lines_of(path: Path, *emitted: events.Event) -> list[str]:
    """The lines of the file after a log has written what was `emitted`."""
    with writing(path, *emitted):
        pass
    return path.read_text().splitlines()


def numbers(content: str) -> list[int]:
    """The numbers of the requests; every line is complete."""
    assert content.endswith("\n")
    return [int(json.loads(line)["request_id"].removeprefix("request-")) for line in content.splitlines()]


async def received_from(reader: int, last: str) -> str:
    """The content of a non-blocking pipe up to the end of the line that contains `last`."""
    received = bytearray()

    def complete() -> bool:
        with suppress(BlockingIOError):
            received.extend(os.read(reader, 1 << 16))
        return received.endswith(b"\n") and last.encode() in received[-1000:]

    await until(complete)
    return received.decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a log in a folder of its own; the file does not exist yet."""
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs" / "audit.log"


@pytest.fixture
def full_pipe(tmp_path: Path) -> Iterator[Path]:
    """A named pipe that is full until the test is over; then the writing thread must end."""
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
    """A log and its named pipe, whose reader closed it while the first 200 lines, which are one batch, were written."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    log = AuditLog(pipe)
    emit(log, *map(request, range(200)))
    log.start()
    held = b"\0" * 4
    asyncio.run(until(lambda: any(fcntl.ioctl(reader, termios.FIONREAD, held))))
    os.close(reader)
    asyncio.run(until(lambda: 0 < log.dropped <= 200))
    return log, pipe


def test_a_request_is_one_line_with_the_documented_fields(path: Path) -> None:
    """A decision has exactly the documented fields, and names the token only by 16 digits of its SHA-256."""
    (line,) = lines_of(path, request(7))
    request_fields = {"event": "request", "request_id": "request-7", "token_sha256": SHA256[:16]}
    decided = {"endpoint": "/token", "action": "vend", "outcome": "vended"}
    assert json.loads(line) == {**START, **request_fields, **decided, **KNOWN}
    assert SHA256[16:24] not in line


def test_a_traced_request_names_its_trace(path: Path) -> None:
    """The line of a traced request also has the trace id."""
    plain, traced = lines_of(path, request(7), replace(request(7), trace_id="4bf92f3577b34da6a3ce929d0e0e4736"))
    assert json.loads(traced) == {**json.loads(plain), "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}


def test_unknown_fields_are_null(path: Path) -> None:
    """A request that was refused before anything was known about it has the same fields."""
    unknown, known = map(json.loads, lines_of(path, request(0, Decision("/token", "vend", "forbidden")), request()))
    assert unknown.keys() == known.keys()
    assert {name for name, value in unknown.items() if value is None} == {*KNOWN, "token_sha256"}


@pytest.mark.parametrize(("is_shared", "remembered"), [(True, 10_000), (False, 0)])
def test_only_decisions_that_requests_share_are_remembered(is_shared: bool, remembered: int) -> None:
    """Most of the others are never seen again; those that are shared are forgotten when there are too many."""
    lines, alive = AuditLines(), weakref.WeakSet[Decision]()

    def decide(org: str) -> None:
        decision = replace(VENDED, org=org, is_shared=is_shared)
        alive.add(decision)
        assert f'"{org}"' in lines.line(request(0, decision))

    for number in range(15_000):
        decide(f"org-{number}")
    assert len(alive) <= remembered
    assert bool(alive) is is_shared


def test_purges_and_policies_are_logged_and_no_other_events(path: Path) -> None:
    """A purge and a change of the policy have lines of their own; other events are not audit events."""
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


@pytest.mark.parametrize("name", TEXTS)
def test_a_field_cannot_break_its_line(path: Path, name: str) -> None:
    """Control characters and quotes in a decision's field are escaped: one line stays one line."""
    nasty = replace(VENDED, **{name: NASTY})  # type: ignore[arg-type]  # here a tier is any text
    (line,) = lines_of(path, request(0, nasty))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)[name] == NASTY


def test_no_other_text_can_break_its_line(path: Path) -> None:
    """The same is true for a request's id, a policy's version and the reason for its refusal."""
    lines = lines_of(
        path, RequestDecided(NOW, NASTY, VENDED), events.PolicyLoaded(NOW, NASTY), events.PolicyRefused(NOW, NASTY)
    )
    assert [line.isascii() and line.isprintable() for line in lines] == [True] * 3
    names = ("request_id", "version", "reason")
    assert [json.loads(line)[name] for line, name in zip(lines, names, strict=True)] == [NASTY] * 3


def test_closing_writes_the_waiting_lines_in_order(path: Path) -> None:
    """`aclose` writes all earlier events in the order in which they were emitted, whatever their kinds."""
    decisions = [replace(VENDED, caller=f"caller-{number}") for number in range(12_000)]
    with writing(path) as log:
        emit(log, *(request(number, decision) for number, decision in enumerate(decisions)))
    content = path.read_text()
    assert numbers(content) == list(range(12_000))
    assert [json.loads(line)["caller"] for line in content.splitlines()] == [made.caller for made in decisions]


def test_a_full_queue_loses_and_counts(path: Path) -> None:
    """If too many lines are waiting, further ones are lost and counted, and the waiting ones are written."""
    with writing(path, *map(request, range(1003)), loses=3, max_waiting=1000) as log:
        assert log.dropped == 3
    assert numbers(path.read_text()) == list(range(1000))


@pytest.mark.parametrize("blocks", [False, True])
def test_requests_that_are_granted_together_are_as_many_lines(path: Path, blocks: bool) -> None:
    """They have the room that they would have one by one: what does not fit is lost and counted, or kept."""
    log = AuditLog(path, max_waiting=1000, blocks=blocks)
    log.emit_granted([*map(request, range(998))])
    log.emit_granted([*map(request, range(998, 1003))])
    assert log.dropped == (0 if blocks else 3)
    log.start()
    asyncio.run(log.aclose())
    assert numbers(path.read_text()) == list(range(1003 if blocks else 1000))


def test_a_file_is_appended_to(path: Path) -> None:
    """Existing lines are kept at a start."""
    lines_of(path, request(1))
    lines_of(path, request(2))
    assert numbers(path.read_text()) == [1, 2]


def test_a_new_file_is_private(path: Path) -> None:
    """A new file is readable only by its owner and group, whatever the umask."""
    before = os.umask(0)
    try:
        lines_of(path, request())
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("rotated", [True, False], ids=["renamed", "removed"])
def test_a_file_that_is_gone_is_created_again(path: Path, rotated: bool) -> None:
    """After a rotation the next line begins a new file, and the old one is closed."""
    with writing(path, request(1)) as log:
        asyncio.run(until(lambda: path.stat().st_size > 0))
        old = path.rename(path.with_suffix(".1")) if rotated else None
        path.unlink(missing_ok=True)
        emit(log, request(2))
    assert numbers(path.read_text()) == [2]
    assert old is None or numbers(old.read_text()) == [1]


def test_lines_are_counted_while_the_folder_is_missing(path: Path) -> None:
    """While the folder is missing, lines are lost and counted; when it is back, the next line is written."""
    with writing(path, loses=2) as log:
        path.unlink()
        path.parent.rmdir()
        emit(log, request(1), request(2))
        asyncio.run(until(lambda: log.dropped == 2))
        path.parent.mkdir()
        emit(log, request(3))
    assert numbers(path.read_text()) == [3]


def test_a_file_that_was_copied_and_truncated_goes_on(path: Path) -> None:
    """The next line is at the beginning of the truncated file, without a gap of zeros before it."""
    with writing(path, *map(request, range(100))) as log:
        asyncio.run(
            until(lambda: path.exists() and path.read_text().endswith("\n") and len(numbers(path.read_text())) == 100)
        )
        copy = path.read_text()
        os.truncate(path, 0)
        emit(log, request(100))
    assert (numbers(copy), numbers(path.read_text())) == (list(range(100)), [100])


def test_a_blocking_log_keeps_what_it_cannot_write(path: Path) -> None:
    """While the folder is missing nothing is lost: lines wait, and the log says when it is full."""
    with writing(path, max_waiting=2, blocks=True) as log:
        asyncio.run(until(path.exists))
        path.unlink()
        path.parent.rmdir()
        emit(log, request(1))
        assert not log.is_full()
        emit(log, request(2))
        assert log.is_full()
        asyncio.run(until(lambda: not log._waiting))
        assert log.is_full()
        path.parent.mkdir()
        asyncio.run(until(lambda: not log.is_full()))
    assert numbers(path.read_text()) == [1, 2]


def test_a_full_blocking_log_loses_refusals_alone(full_pipe: Path) -> None:
    """A request that was accepted before the log was full may be granted after it: its line is added."""
    refused = replace(VENDED, outcome="overloaded", token_sha256=None)
    log = AuditLog(full_pipe, max_waiting=2, blocks=True)
    emit(log, request(1), request(2))
    emit(log, request(3, replace(VENDED, outcome="done")), request(4))
    assert log.dropped == 0
    emit(log, request(5, refused))
    assert (log.dropped, len(log._waiting)) == (1, 4)


@pytest.mark.parametrize("blocks", [True, False], ids=["block", "drop"])
def test_refusals_alone_never_fill_the_log(full_pipe: Path, blocks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the reader hangs, refusals use half of the places; further ones are lost, and grants have the rest."""
    refused = replace(VENDED, outcome="unauthenticated", caller=None, token_sha256=None)
    log = AuditLog(full_pipe, max_waiting=20, blocks=blocks)
    emit(log, *(request(number, refused) for number in range(5)))
    log.start()
    asyncio.run(until(lambda: log._in_hand > 0))
    emit(log, *(request(number, refused) for number in range(5, 100)))
    assert (log.is_full(), log.dropped) == (False, 90)
    emit(log, *map(request, range(10)))
    assert (log.is_full(), log.dropped) == (blocks, 90)
    monkeypatch.setattr("app.adapters.audit_log.log.FLUSH_SECONDS", 0.0)
    asyncio.run(log.aclose())


def test_a_request_that_was_not_looked_at_has_no_line(path: Path) -> None:
    """A flood of credentials from one address adds no line when it is limited; a caller over its own limit does."""
    limited = replace(VENDED, outcome="rate_limited", token_sha256=None)
    (line,) = lines_of(
        path, *(request(number, replace(limited, caller=None)) for number in range(99)), request(1, limited)
    )
    assert json.loads(line)["caller"] == KNOWN["caller"]


def test_a_blocking_log_survives_the_loss_of_its_reader(tmp_path: Path) -> None:
    """Lines that no process reads from a named pipe wait for the next reader."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with writing(pipe, blocks=True) as log:
        os.close(reader)
        emit(log, *map(request, range(2000)))
        asyncio.run(until(lambda: log._in_hand > 0))
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        assert numbers(asyncio.run(received_from(reader, "request-1999"))) == list(range(2000))
    os.close(reader)


def test_a_blocking_log_that_cannot_write_ends(path: Path) -> None:
    """At the end of the process, lines that cannot be written are lost and counted, within the usual time."""
    with writing(path, blocks=True, loses=2) as log:
        asyncio.run(until(path.exists))
        path.unlink()
        path.parent.rmdir()
        emit(log, request(1), request(2))


def test_a_log_that_does_not_block_is_never_full(full_pipe: Path) -> None:
    """With a reader that hangs and more lines than may wait, requests go on."""
    log = AuditLog(full_pipe, max_waiting=2)
    emit(log, *map(request, range(4)))
    assert (log.is_full(), log.dropped) == (False, 2)


def test_a_start_needs_a_file_that_can_be_opened(path: Path) -> None:
    """A file that cannot be opened fails the start, not every later line; closing raises nothing."""
    log = AuditLog(path / "audit.log")
    with pytest.raises(FileNotFoundError):
        log.start()
    asyncio.run(log.aclose())


@pytest.mark.timeout(10)
def test_a_named_pipe_that_no_process_reads_fails_the_start_at_once(tmp_path: Path) -> None:
    """The start does not wait for a reader that may never come."""
    os.mkfifo(tmp_path / "pipe")
    log = AuditLog(tmp_path / "pipe")
    with pytest.raises(OSError, match="no process reads this named pipe"):
        log.start()
    asyncio.run(log.aclose())


@pytest.mark.timeout(20)
def test_a_named_pipe_may_lose_its_reader(tmp_path: Path) -> None:
    """Lines that no process reads are counted; the next reader gets the next line, and a slow one loses nothing."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with writing(pipe, loses=1) as log:
        os.close(reader)
        emit(log, request(1))
        asyncio.run(until(lambda: log.dropped == 1))
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        emit(log, *map(request, range(2, 2000)))
        assert numbers(asyncio.run(received_from(reader, "request-1999"))) == list(range(2, 2000))
    os.close(reader)


def test_a_torn_line_does_not_spoil_the_next(torn: tuple[AuditLog, Path]) -> None:
    """After a torn line, the next one begins on a line of its own."""
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


def test_a_torn_line_does_not_affect_a_new_file(torn: tuple[AuditLog, Path]) -> None:
    """A file that replaces one with a torn line begins with a complete line."""
    log, path = torn
    path.rename(path.with_suffix(".1"))
    emit(log, request(2000))
    asyncio.run(log.aclose())
    assert numbers(path.read_text()) == [2000]


def test_a_torn_line_of_an_earlier_process_does_not_spoil_the_next(path: Path) -> None:
    """If a killed process or a full disk left a torn line, the next one begins on a line of its own."""
    path.write_text('{"audit":1,"ti')
    lines_of(path, request(1))
    assert numbers(path.read_text().partition("\n")[2]) == [1]


def test_a_truncation_right_after_a_write_does_not_spoil_the_next_line(path: Path) -> None:
    """If the file is cut within a line before the writer can look at its size, the next line is still whole."""
    output = Output(path)
    output.open()
    # The second of two lines is over the limit of the process, which the kernel reports with a signal. Python runs its
    # handler between the failed write and the next call.
    before, limit = signal.getsignal(signal.SIGXFSZ), resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, lambda *_: os.truncate(path, 2))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limit[1]))
    try:
        assert output.write(b"one\ntwo\n") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == b"on"
    assert output.write(b"three\n") == 1
    output.close()
    assert path.read_bytes() == b"on\nthree\n"


def test_standard_output_is_the_default(capfd: pytest.CaptureFixture[str]) -> None:
    """Without a file the lines are written to standard output, which stays open afterwards."""
    with writing(None, request(1)):
        pass
    os.write(1, b"open\n")
    line, rest = capfd.readouterr().out.split("\n", 1)
    assert (numbers(f"{line}\n"), rest) == ([1], "open\n")


def test_a_non_blocking_standard_output_loses_nothing() -> None:
    """If standard output is non-blocking, the log waits for room instead of losing lines."""
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


def test_a_stuck_descriptor_does_not_block_closing(full_pipe: Path) -> None:
    """If no one reads, closing waits for a bounded time."""
    log = AuditLog(full_pipe)
    log.start()
    emit(log, request(1))
    began = time.monotonic()
    asyncio.run(log.aclose())
    assert FLUSH_SECONDS * 0.9 < time.monotonic() - began < FLUSH_SECONDS + 5


def test_lines_that_are_stuck_at_the_end_are_counted(full_pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that are not written at the end count as lost: those in the stuck write, and those waiting after it."""
    monkeypatch.setattr("app.adapters.audit_log.log.FLUSH_SECONDS", 0.3)
    with writing(full_pipe, *map(request, range(7000)), loses=7000):
        pass
