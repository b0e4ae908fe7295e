"""Writes files that hold secrets, readable only by their owner."""

from __future__ import annotations

import os
from pathlib import Path

from app.cli.failure import USAGE, CommandError


def write_new_file(path: Path, text: str) -> None:
    """Write `text` to a file that did not exist, with mode 0600.

    Raises:
        CommandError: The file exists already, or it cannot be written.

    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise CommandError(f"{path} exists already; it is never overwritten.", USAGE) from None
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
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    write_new_file(temporary, text)
    temporary.replace(path)
