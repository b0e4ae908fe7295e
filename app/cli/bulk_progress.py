"""The progress of a command over many items, on standard error: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

_EVERY = 5.0
"""Seconds between two lines."""


class PlainProgress:
    """Lines for a log.

    Args:
        total: The number of items.
        clock: Seconds; only differences count.

    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._clock = clock
        self._begun = self._said = clock()
        self._outcomes = Counter[str]()

    def __call__(self, outcome: str) -> None:
        """One more item has ended."""
        self._outcomes[outcome] += 1
        if self._clock() - self._said >= _EVERY:
            self._said = self._clock()
            typer.echo(self.line(), err=True)

    def line(self) -> str:
        """How far it is."""
        done, seconds = self._outcomes.total(), max(self._clock() - self._begun, 0.001)
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self._outcomes.items()))
        left = (self._total - done) * seconds / max(done, 1)
        return f"{done} of {self._total}: {counts}; {done / seconds:.0f}/s, about {left:.0f} s left"


@contextmanager
def bulk_progress(total: int) -> Iterator[Callable[[str], None]]:
    """What is to be called with the outcome of each item."""
    if not sys.stderr.isatty():
        yield PlainProgress(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    outcomes = Counter[str]()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)

        def advance(outcome: str) -> None:
            outcomes[outcome] += 1
            description = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
            bar.update(task, advance=1, description=description)

        yield advance
