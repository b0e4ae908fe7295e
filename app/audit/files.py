"""Reads audit logs line by line, however long: files, compressed or not, and standard input."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

STANDARD_INPUT = "-"
_GZIP = b"\x1f\x8b"
_STEP = 1 << 20
_RATIO = 8
"""Approximate compression ratio of gzip for an audit log, for the progress bar."""


class AuditFileError(Exception):
    """A file cannot be read; the text is one sentence that names it."""


def lines_of(name: str, max_line: int, on_read: Callable[[int], None]) -> Iterator[bytes]:
    """The lines of a file, with their newlines. A line longer than `max_line` bytes comes in pieces.

    Args:
        name: Its path, or `STANDARD_INPUT`.
        max_line: Longest line, in bytes.
        on_read: Called every few thousand lines with the number of bytes of the file read since the last call.

    Raises:
        AuditFileError: It cannot be opened, read or decompressed.

    """
    try:
        with _opened(name) as file:
            packed = file.peek(2)[:2] == _GZIP
            plain = gzip.GzipFile(fileobj=file) if packed else file
            size = counted = 0
            while line := plain.readline(max_line):
                size += len(line)
                if size - counted > _STEP:
                    on_read((size - counted) // (_RATIO if packed else 1))
                    counted = size
                yield line
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise AuditFileError(f"{name} is compressed and damaged, or was cut short.") from None
    except OSError as error:
        raise AuditFileError(f"{name} cannot be read: {(error.strerror or 'input error').lower()}.") from None


@contextmanager
def _opened(name: str) -> Iterator[io.BufferedReader]:
    """A file, closed with the context. Standard input is not closed."""
    if name == STANDARD_INPUT:
        raw = sys.stdin.buffer
        yield raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw))
    else:
        with Path(name).open("rb") as file:
            yield file


def size_of(names: list[str]) -> int | None:
    """Bytes of all files together; None if one has no size, such as standard input."""
    try:
        return None if STANDARD_INPUT in names else sum(Path(name).stat().st_size for name in names)
    except OSError:
        return None
