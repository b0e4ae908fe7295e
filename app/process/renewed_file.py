"""Following a file that is renewed while it is in use: when to believe new content, and what to report.

Content is identified by any value that can be compared, such as a digest; a file that cannot be read, by the reason.
Nothing here reads a file or knows the time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum, auto
from typing import Generic, TypeVar

Seen = TypeVar("Seen", bound=Hashable)
Content = TypeVar("Content")
Result = TypeVar("Result")


class UnsettledError(Exception):
    """A file changes all the time."""


class Look(Enum):
    """What one look at the file found."""

    UNCHANGED = auto()
    """The content in force."""

    RESTORED = auto()
    """The content in force, after another one was refused: to be reported."""

    UNSETTLED = auto()
    """New content that may still be being written: look again."""

    NEW = auto()
    """New content, to be loaded and then accepted or refused."""

    REFUSED = auto()
    """Content that was refused and reported already."""


class RenewedFile(Generic[Seen]):
    """Remembers which content is in force and which was refused, so that each is loaded and reported once.

    Args:
        looks: How many looks in a row must see the same before it is believed.

    """

    def __init__(self, looks: int = 2) -> None:
        self._looks = looks
        self._in_force: Seen | None = None
        self._refused: Seen | None = None
        self._seen: Seen | None = None
        self._times = 0

    def look(self, seen: Seen) -> Look:
        """Judge what a look at the file found."""
        self._times = self._times + 1 if seen == self._seen else 1
        self._seen = seen
        if seen == self._in_force:
            was_refused, self._refused = self._refused is not None, None
            return Look.RESTORED if was_refused else Look.UNCHANGED
        if seen == self._refused:
            return Look.REFUSED
        return Look.NEW if self._times >= self._looks else Look.UNSETTLED

    def accept(self, seen: Seen) -> None:
        """Content is in force from now on; the next refusal is reported again, whatever its reason."""
        self._in_force = self._seen = seen
        self._times, self._refused = 1, None

    def refuse(self, seen: Seen) -> None:
        """Content is not loaded again until another one was in force."""
        self._refused = seen


def settled(
    content: Content, read: Callable[[], Content], between: Callable[[Content], Result], *, rounds: int = 3
) -> tuple[Content, Result]:
    """Content that is the same before and after `between`, and the result of `between` for it.

    Args:
        content: What was read first.
        read: Reads it again.
        between: Waits a while, or uses the file.
        rounds: How often to try.

    Raises:
        UnsettledError: The content changed each time.

    """
    for _ in range(rounds):
        result = between(content)
        again = read()
        if again == content:
            return content, result
        content = again
    raise UnsettledError
