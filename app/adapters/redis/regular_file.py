"""Reading the small files that Redis' adapter is given: key ring and password."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class NotRegularError(Exception):
    """There is something else than a regular file, such as a folder or a named pipe."""


def read_regular_file(path: Path, size: int) -> bytes:
    """The first `size` bytes of the file at `path`.

    Raises:
        NotRegularError: It is no regular file.
        OSError: It cannot be read.

    """
    # Opening a named pipe would wait for a writer, for ever; this flag changes nothing for a file.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor has no path to open
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError
        return file.read(size)
