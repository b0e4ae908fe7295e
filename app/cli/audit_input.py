"""Reads audit logs that a command line names, with a progress bar for long ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.cli.failure import USAGE, CommandError

if TYPE_CHECKING:
    from app.audit.lines import AuditLine

_LONG = 50_000_000
"""Bytes of input above which a progress bar is shown."""


@contextmanager
def audit_lines_of(files: list[str]) -> Iterator[Iterator[AuditLine]]:
    """The lines of all files, one after another; an unreadable file ends the command with a one-sentence error."""
    from app.audit.files import AuditFileError, lines_of, size_of
    from app.audit.lines import MAX_LINE, unwrapped

    try:
        with _progress(size_of(files)) as on_read:
            yield (line for name in files for line in unwrapped(name, lines_of(name, MAX_LINE, on_read)))
    except AuditFileError as error:
        raise CommandError(str(error), USAGE) from None


@contextmanager
def _progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, only for long input and on a terminal."""
    if not sys.stderr.isatty() or (total is not None and total < _LONG):
        yield lambda _read: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    with Progress(
        BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("", total=total)
        yield lambda read: bar.advance(task, read)
