"""The parent of workers and its log."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.adapters.json_logs import DirectLogHandler
from app.process.write_lock import WriteLock
from tests.support.children import wait_until

SCRIPT = """
import os, sys
from app.bootstrap.workers import WorkerPlace, forked

def say(text):
    os.write(1, (text + "\\n").encode())

place = forked(2, 0, 10.0, lambda: say("started"))
if not isinstance(place, WorkerPlace):
    sys.exit(place)
say(str(os.getpid()))
place.ready()
os.read(place.orphaned, 1)
"""
ENDS = "a worker ended and is started again"


def fill(pipe: int) -> None:
    """Write to a pipe until it is full."""
    os.set_blocking(pipe, False)
    try:
        while True:
            os.write(pipe, b"x")
    except BlockingIOError:
        os.set_blocking(pipe, True)


def line(text: str) -> logging.LogRecord:
    """A record."""
    return logging.LogRecord("app", logging.ERROR, "", 0, text, (), None)


def messages(written: bytes) -> list[str]:
    """The messages of whole lines."""
    return [json.loads(one)["message"] for one in written.splitlines()]


@contextmanager
def held_by_a_child(lock: int) -> Iterator[None]:
    """A child holds the lock, as one that was stopped within a line."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with WriteLock(lock).held():
            os.write(writer, b"1")
            signal.pause()
    assert os.read(reader, 1) == b"1"
    yield
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)


def test_a_log_that_no_one_reads_does_not_stop_the_parent() -> None:
    """It passes SIGTERM on, after a worker was killed whose end it cannot log."""
    reader, writer = os.pipe()
    fill(writer)
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=writer, text=True) as parent:
        try:
            assert parent.stdout is not None
            said = [parent.stdout.readline().rstrip() for _ in range(3)]
            victim = int(next(text for text in said if text != "started"))
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: not Path(f"/proc/{victim}").exists(), "the end is not noticed")
            parent.terminate()
            assert parent.wait(20) == 128 + signal.SIGTERM
        finally:
            parent.kill()
    os.close(writer)
    assert set(os.read(reader, 1_000_000)) == set(b"x")
    os.close(reader)


def test_the_end_of_a_worker_is_logged() -> None:
    """If the log is read."""
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stderr is not None
            said = [parent.stdout.readline().rstrip() for _ in range(3)]
            os.kill(int(next(text for text in said if text != "started")), signal.SIGKILL)
            logged = json.loads(parent.stderr.readline())
        finally:
            parent.terminate()
    assert logged["message"] == ENDS
    assert logged["status"] == 128 + signal.SIGKILL


def test_a_line_does_not_cut_the_line_of_a_worker() -> None:
    """It is dropped while another process holds the lock, and begins a line after one that was cut short."""
    lock = os.memfd_create("lock")
    reader, writer = os.pipe()
    handler = DirectLogHandler(writer, lock)
    with held_by_a_child(lock):
        handler.emit(line("dropped"))
    handler.emit(line("after"))
    handler.emit(line("next"))
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        written = file.read()
    assert written.startswith(b"\n")
    assert messages(written[1:]) == ["after", "next"]
    os.close(lock)


def test_a_long_line_is_cut_if_the_pipe_is_full() -> None:
    """It does not block, and the next line is whole."""
    lock = os.memfd_create("lock")
    reader, writer = os.pipe()
    handler = DirectLogHandler(writer, lock)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.emit(line("a" * 1_000_000))
    cut = os.read(reader, 1_000_000)
    assert set(cut) == set(b"a")
    handler.emit(line("b"))
    assert os.read(reader, 100) == b"\nb\n"
    for descriptor in (reader, writer, lock):
        os.close(descriptor)
