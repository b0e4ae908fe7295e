"""A lock for writes of several processes to one file or pipe, so that they do not cut each other's lines."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

_WHOLE, _CUT = b"\0", b"\1"

_PAUSE = 0.005
_PAUSE_OF_WRITES = 0.05


class WriteLock:
    """The lock, and whether the last write ended within a line. The end of a process gives it back, too.

    Args:
        descriptor: Of a file that the processes inherited (a lock belongs to a process, not to a descriptor, so only
            one thread of a process may use it); or None if no other process writes. Its first byte says whether a line
            is cut short, because a process that was killed within a write cannot tell the next one.

    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor
        self.is_cut = False
        """Whether the output ends within a line. `write` sets it; the one that holds the lock may, too."""
        self.written = 0
        """How many bytes the last `write` wrote, also if it failed."""

    @property
    def is_shared(self) -> bool:
        """Whether other processes may write, too."""
        return self._descriptor is not None

    @contextmanager
    def held(self, seconds: float | None = None) -> Iterator[None]:
        """Hold the lock. `is_cut` is then what the writer before left, of whichever process.

        Args:
            seconds: How long to wait for it; without a limit if None.

        Raises:
            TimeoutError: Another process still holds it.

        """
        if self._descriptor is None:
            yield
            return
        self._take(self._descriptor, seconds)
        try:
            self.is_cut = os.pread(self._descriptor, 1, 0) == _CUT
            os.pwrite(self._descriptor, _CUT, 0)
            try:
                yield
            finally:
                os.pwrite(self._descriptor, _CUT if self.is_cut else _WHOLE, 0)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all of `data`, however many writes that takes; for the one that holds the lock. It sets `is_cut`.

        Raises:
            OSError: The rest of `data` cannot be written.

        """
        self.written = 0
        while self.written < len(data):
            try:
                self.written += os.write(descriptor, memoryview(data)[self.written :])
            except BlockingIOError:  # another process made our standard output or error non-blocking
                time.sleep(_PAUSE_OF_WRITES)
                continue
            self.is_cut = data[self.written - 1 : self.written] != b"\n"

    @staticmethod
    def _take(descriptor: int, seconds: float | None) -> None:
        if seconds is None:
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
            return
        ends_at = time.monotonic() + seconds
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= ends_at:
                    raise TimeoutError("Another process holds the lock.") from None
                time.sleep(_PAUSE)
            else:
                return
