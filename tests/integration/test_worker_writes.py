"""Several processes write to one audit log."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from app.adapters.audit_log.output import Output
from app.adapters.json_logs.json_lines import LogHandler
from tests.support.children import wait_until

LINES = 40
BATCH = 500
"""Lines in a write: much more than a pipe takes at once."""


def written_by(path: Path, lock: int | None, letters: str) -> list[int]:
    """Child processes that each write lines of their own letter."""
    children = []
    for letter in letters:
        child = os.fork()
        if child == 0:
            output = Output(path, lock)
            output.open()
            line = letter.encode() * 200 + b"\n"
            for _ in range(LINES):
                output.write(line * BATCH)
            os._exit(0)
        children.append(child)
    return children


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_lines_of_several_workers_are_whole(tmp_path: Path, kind: str) -> None:
    """Each line is of one process, although each write is larger than what a pipe takes at once."""
    path = tmp_path / "audit.log"
    lock = os.memfd_create("lock")
    if kind == "pipe":
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        children = written_by(path, lock, "ab")
        os.set_blocking(reader, True)
        with os.fdopen(reader, "rb") as file:
            lines = [file.readline() for _ in range(2 * LINES * BATCH)]
        ended = [os.waitpid(child, 0)[1] for child in children]
    else:
        ended = [os.waitpid(child, 0)[1] for child in written_by(path, lock, "ab")]
        lines = path.read_bytes().splitlines(keepends=True)
    os.close(lock)
    assert ended == [0, 0]
    assert sorted(set(lines)) == [letter * 200 + b"\n" for letter in (b"a", b"b")]
    assert len(lines) == 2 * LINES * BATCH


def unread(pipe: int) -> int:
    """Bytes in a pipe."""
    size = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, size)
    return size[0]


def audits(pipe: int, lock: int, text: str) -> None:
    """Write to standard output, as the audit log does."""
    os.dup2(pipe, 1)
    assert Output(None, lock).write(text.encode() + b"\n") == 1


def logs(pipe: int, lock: int, text: str) -> None:
    """Write as the log does."""
    handler = LogHandler(pipe, lock)
    handler._lines.put(text)
    handler._lines.put(None)
    handler._thread.join()


@pytest.mark.parametrize("write", [audits, logs])
def test_a_worker_that_is_killed_within_a_line_does_not_spoil_the_next(
    write: Callable[[int, int, str], None],
) -> None:
    """In a pipe, where no one can see how it ends. The lines after that are not separated by empty ones."""
    lock = os.memfd_create("lock")
    reader, writer = os.pipe()
    cut = b""
    for number, text in enumerate(("a" * 1_000_000, "b", "c")):
        child = os.fork()
        if child == 0:
            write(writer, lock, text)
            os._exit(0)
        if number == 0:
            wait_until(lambda: unread(reader) > 4096, "it does not write")
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            cut = os.read(reader, unread(reader))
        else:
            assert os.waitpid(child, 0)[1] == 0
    os.close(writer)
    assert set(cut) == set(b"a")
    with os.fdopen(reader, "rb") as file:
        assert file.read() == b"\nb\nc\n"
    os.close(lock)
