"""Questions to a person at a terminal, which Ctrl-C ends at once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer


def is_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def typed(question: str) -> str:
    """What a person types.

    Raises:
        typer.Abort: Ctrl-C was pressed, or the input ended.

    """
    with _interruptible():
        return str(typer.prompt(question, err=True)).strip()


def confirmed(question: str) -> bool:
    """Whether a person agrees.

    Raises:
        typer.Abort: As `typed`.

    """
    with _interruptible():
        return typer.confirm(question, err=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the question. A running event loop would only note it, and the question would wait on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
