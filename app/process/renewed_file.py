"""Follows a file that is renewed while it is in use: when to load new content, and what to report.

Any comparable value can identify content, such as a digest; the reason identifies a file that cannot be read.
This module does not read files and does not use the time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum, auto
from typing import Generic, TypeVar

Seen = TypeVar("Seen", bound=Hashable)
Content = TypeVar("Content")
Result = TypeVar("Result")


class StillChangingError(Exception):
    """A file keeps changing."""


class Look(Enum):
    """The result of one look at the file."""

    UNCHANGED = auto()
    """The content in force."""

    RESTORED = auto()
    """The content in force, after other content was refused: report it."""

    CHANGING = auto()
    """New content that is perhaps not complete yet: look again."""

    NEW = auto()
    """New content: load it, then accept or refuse it."""

    REFUSED = auto()
    """Content that was already refused and reported."""


class RenewedFile(Generic[Seen]):
    """Remembers which content is in force and which was refused, so that each is loaded and reported once.

    Args:
        looks: The number of looks in a row that must see the same content before it counts as new.

    """

    def __init__(self, looks: int = 2) -> None:
        self._looks = looks
        self._in_force: Seen | None = None
        self._refused: Seen | None = None
        self._seen: Seen | None = None
        self._times = 0

    def look(self, seen: Seen) -> Look:
        """Classify the content that was seen."""
        self._times = self._times + 1 if seen == self._seen else 1
        self._seen = seen
        if seen == self._in_force:
            was_refused, self._refused = self._refused is not None, None
            return Look.RESTORED if was_refused else Look.UNCHANGED
        if seen == self._refused:
            return Look.REFUSED
        return Look.NEW if self._times >= self._looks else Look.CHANGING

    def accept(self, seen: Seen) -> None:
        """Note that content is in force. The next refusal is reported, even for the same reason."""
        self._in_force = self._seen = seen
        self._times, self._refused = 1, None

    def refuse(self, seen: Seen) -> None:
        """Note that content was refused. It is not loaded again until other content was in force."""
        self._refused = seen


def stable_content(
    content: Content, read: Callable[[], Content], between: Callable[[Content], Result], *, rounds: int = 3
) -> tuple[Content, Result]:
    """Content that is the same before and after `between`, and the result of `between` for it.

    Args:
        content: The content that was read first.
        read: Reads the content again.
        between: Waits, or uses the file.
        rounds: The number of attempts.

    Raises:
        StillChangingError: The content changed each time.

    """
    for _ in range(rounds):
        result = between(content)
        again = read()
        if again == content:
            return content, result
        content = again
    raise StillChangingError
