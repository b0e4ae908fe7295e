"""Writes files that hold secrets, readable only by their owner, or by a group that could read them before."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from app.cli.failure import USAGE, CommandError

_PRIVATE_MODE = 0o600
_WIDEST_MODE = 0o640
"""A file with a secret that a group reads; a wider mode is a mistake."""


def write_new_file(path: Path, text: str) -> None:
    """Write `text` to a file that did not exist, with mode 0600.

    Raises:
        CommandError: The file exists already, or it cannot be written.

    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE_MODE)
    except FileExistsError:
        raise CommandError(f"{path} already exists; it is never overwritten.", USAGE) from None
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.", USAGE) from None
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # a descriptor has no path to open
            file.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from None


def replace_file(path: Path, text: str) -> None:
    """Write `text` to a file with mode 0600, whole or not at all, whatever was there before.

    Raises:
        CommandError: It cannot be written.

    """
    _temporary_file(path, text).replace(path)


def change_file(path: Path, text: str) -> int:
    """Write `text` to an existing file, whole or not at all; the mode that it has then.

    Mode and group are kept if the mode is at most 0640, as that of a file which a group of services reads. A wider mode
    becomes 0600, as does one whose group this user may not give a file to.

    Raises:
        CommandError: It cannot be written.

    """
    temporary = _temporary_file(path, text)
    try:
        before = path.stat()
        mode = stat.S_IMODE(before.st_mode)
        if mode & ~_WIDEST_MODE:
            mode = _PRIVATE_MODE
        elif before.st_gid != temporary.stat().st_gid:
            os.chown(temporary, -1, before.st_gid)
    except PermissionError:
        mode = _PRIVATE_MODE
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from None
    temporary.chmod(mode)
    temporary.replace(path)
    return mode


def _temporary_file(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    write_new_file(temporary, text)
    return temporary
