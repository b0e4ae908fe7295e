"""The output of the audit log: whole lines, appended to a file that may be rotated, or to standard output."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from app.process.write_lock import WriteLock

_STDOUT = 1
_TAIL = 1 << 20
"""Bytes at the end of a file in which its last line is looked for."""

# O_NONBLOCK: opening a named pipe would wait for its reader, without end. O_NOCTTY: a terminal must not become the
# controlling terminal.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Output:
    """A file that is appended to, or standard output. Used by one thread.

    Args:
        path: The file, or None.
        lock: The descriptor of a `WriteLock`; with it, other processes may write there, too.

    """

    def __init__(self, path: Path | None, lock: int | None = None) -> None:
        self._path = path
        self._lock = WriteLock(lock)
        self._descriptor = _STDOUT
        self._size = 0

    def open(self) -> None:
        """Open the file, without waiting for a process that reads it.

        Raises:
            OSError: It cannot be opened, or it is a named pipe that no process reads.

        """
        if self._path is not None:
            self._descriptor = _opened(self._path)
            self._lock.is_cut = self._ends_torn(self._path)

    def _ends_torn(self, path: Path) -> bool:
        """Whether the file ends within a line: a full disk, or the end of an earlier process, cut it short."""
        there = os.fstat(self._descriptor)
        if not stat.S_ISREG(there.st_mode) or there.st_size == 0:
            return False
        try:
            with path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) != b"\n"
        except OSError:  # may be written but not read
            return False

    def close(self) -> None:
        """Close the file."""
        if self._path is not None and self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def write(self, lines: bytes) -> int:
        """Append lines, each with its newline; the number of those that were written whole. The others are lost."""
        with self._lock.held():
            return self._write(lines)

    def _write(self, lines: bytes) -> int:
        before = self._lock.is_cut
        # After a line that was cut short, the next one must not be appended to the partial line.
        data = b""
        try:
            self._reopen_if_rotated()
            if self._lock.is_shared and self._path is not None and stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                # Nor to a line that a process without this lock has cut.
                self._lock.is_cut = self._ends_torn(self._path)
            before = self._lock.is_cut
            data = b"\n" + lines if before else lines
            try:
                self._lock.write(self._descriptor, data)
            finally:
                self._size = self._end()
        except OSError:
            # A line that lacks nothing but its newline is whole; the newline comes with the next write.
            written = self._lock.written
            return data.count(b"\n", before, written + 1) if written > before else 0
        return lines.count(b"\n")

    def _end(self) -> int:
        """Where the last write ended, even if someone has cut the file since then; 0 in a pipe."""
        status = os.fstat(self._descriptor)
        if self._lock.written and stat.S_ISREG(status.st_mode):
            return os.lseek(self._descriptor, 0, os.SEEK_CUR)
        return status.st_size

    def last_line(self) -> bytes | None:
        """The last whole line of the file; None if there is none, or if it cannot be read."""
        if self._path is None or not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            return None
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL))
                tail = file.read(_TAIL)
        except OSError:
            return None
        whole = tail[: tail.rfind(b"\n") + 1].splitlines()
        return whole[-1] if whole else None

    def _reopen_if_rotated(self) -> None:
        if self._path is None:
            return
        try:
            there = self._path.stat()
            ours = os.fstat(self._descriptor)
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                # Someone may have cut a line in two, as a rotation that copies and truncates does.
                if ours.st_size < self._size:
                    self._lock.is_cut = self._ends_torn(self._path)
                return
        except OSError:  # moved away, or never opened again after a failure
            pass
        self.close()
        self.open()


def _opened(path: Path) -> int:
    """A descriptor whose writes wait, as those to standard output do: the thread that writes has nothing else to do."""
    try:
        descriptor = os.open(path, _FLAGS, 0o640)
    except OSError as error:
        if error.errno == errno.ENXIO and path.is_fifo():
            raise OSError(errno.ENXIO, "no process reads this named pipe", str(path)) from None
        raise
    os.set_blocking(descriptor, True)
    return descriptor
