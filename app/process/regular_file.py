"""Reads small files that an operator names: settings, secrets, keys, certificates.

Only regular files are read: opening a named pipe waits for a writer, and a device may never end.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from typing_extensions import override

_ROUNDS = 3
"""Attempts to read a file that changes while it is being read."""

# O_NONBLOCK has no effect on a regular file. O_NOCTTY: a terminal must not become the controlling terminal.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_KINDS = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


class FileError(ValueError):
    """A file is unusable.

    Args:
        path: The file.
        reason: What is wrong with it, such as ``is empty``; never quotes its content.

    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    @override
    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


class UnreadableFileError(FileError):
    """The operating system denies reading the file."""


class MissingFileError(UnreadableFileError):
    """The file does not exist."""


def read_bytes(path: Path, limit: int, *, opened: Callable[[], None] = lambda: None) -> bytes:
    """The content of a regular file, read in this thread.

    It never waits for a writer. A file on a network volume can still hang, so call it in a thread with a deadline.

    Args:
        path: The file; symbolic links are followed.
        limit: Largest size, in bytes.
        opened: Called between opening the file and reading it.

    Raises:
        MissingFileError: The file does not exist.
        UnreadableFileError: The file cannot be opened or read.
        FileError: It is not a regular file, is too large, or keeps changing.

    """
    for _ in range(_ROUNDS):
        content = _read(path, limit, opened)
        if content is not None:
            return content
    raise FileError(path, "is still being written")


def read_text(path: Path, limit: int) -> str:
    """The UTF-8 text in a regular file, without trailing line ends. As `read_bytes`.

    Raises:
        FileError: As `read_bytes`; also when the file is not UTF-8 text, or is empty.

    """
    try:
        text = read_bytes(path, limit).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise FileError(path, "is not UTF-8 text") from None
    if not text:
        raise FileError(path, "is empty")
    return text


def _read(path: Path, limit: int, opened: Callable[[], None]) -> bytes | None:
    """The content; None if it changed while it was being read."""
    try:
        descriptor = _open(path)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise FileError(path, f"is a {_kind(before.st_mode)}, not a regular file")
            opened()
            content = _read_descriptor(descriptor, limit + 1)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(path, f"cannot be read: {_words(error)}") from None
    except OSError as error:
        raise UnreadableFileError(path, f"cannot be read: {_words(error)}") from None
    if len(content) > limit:
        raise FileError(path, f"is larger than {_size(limit)}")
    return content if _version(before) == _version(after) else None


def _open(path: Path) -> int:
    try:
        return os.open(path, _FLAGS)
    except ValueError:
        raise UnreadableFileError(path, "cannot be read: its name is not valid") from None


def _read_descriptor(descriptor: int, size: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:  # a descriptor has no path to open
        return file.read(size)


def _version(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _kind(mode: int) -> str:
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "special file")


def _words(error: OSError) -> str:
    return (error.strerror or "unknown reason").lower()


def _size(limit: int) -> str:
    for unit, name in ((1024 * 1024, "MiB"), (1024, "KiB")):
        if limit % unit == 0:
            return f"{limit // unit} {name}"
    return f"{limit} bytes"
