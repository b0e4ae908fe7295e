"""Follows one chain of an audit log, and reports each line that does not fit. Memory does not grow with the chain.

A line that does not fit is kept until the next one shows what happened: changed, inserted, moved, or next to a gap.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from app.audit.lines import Place
from app.domain.audit_chain import ENDED, STARTED, Head, Link

_RECENT = 32
"""Accepted lines that are remembered, to find where forged lines branched off."""

_HELD = 128
"""Accepted lines whose hashes are remembered, for a start that names one of them as the last it found."""

_MOVED = 1000
"""Lines found too early that are remembered until their turn."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, or worth knowing.

    Args:
        place: The line.
        sentence: The finding, as a sentence that names the line.
        after: The last line before a gap, if lines are missing.
        is_fault: Whether verification fails because of it.

    """

    place: Place
    sentence: str
    after: Place | None = None
    is_fault: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """A line of the chain and where it is."""

    link: Link
    place: Place

    def precedes(self, other: Seen) -> bool:
        """Whether `other` is the next line, and carries the hash of this one."""
        return other.link.seq == self.link.seq + 1 and other.link.prev == self.link.sha256


class ChainFollower:
    """One chain, line by line.

    Args:
        first: Its first line.
        expected: Heads of this chain that were kept elsewhere.

    """

    def __init__(self, first: Seen, expected: list[Head]) -> None:
        self.first = first
        self.lines = 0
        self.ended = False
        self._last = first
        self._suspect: Seen | None = None
        self._reported = False
        self._recent: deque[Seen] = deque(maxlen=_RECENT)
        self._held: deque[tuple[int, str]] = deque(maxlen=_HELD)
        self._moved: dict[int, Seen] = {}
        self._expected = {head.seq: head.sha256 for head in expected}
        self._unmet: list[Finding] = []
        self._accept(first)

    @property
    def head(self) -> Head:
        """The last line that fits."""
        return Head(self.first.link.chain, self._last.link.seq, self._last.link.sha256)

    @property
    def newest(self) -> Seen:
        """The last line, unless it is known not to belong there."""
        return self._last if self._suspect is None or self._reported else self._suspect

    def has_accepted(self, head: Head) -> bool:
        """Whether `head` is one of its newest lines, as it was written."""
        return (head.seq, head.sha256) in self._held

    def begins_badly(self, before: Place | None, *, partial: bool) -> Finding | None:
        """What is wrong with the first line as a beginning.

        Args:
            before: The line before it in the input, of any kind.
            partial: Earlier files were left out on purpose.

        """
        link, place = self.first.link, self.first.place
        if link.seq > 1:
            missing = _lines(1, link.seq - 1)
            sentence = f"{place}: chain {link.chain} begins here with its line {link.seq}; {missing} not seen"
            why = "in files that were not given" if partial else "removed, or in an earlier file (see --partial)"
            changed = "" if before is None else f", or changed: look at {before}, too"
            return Finding(place, f"{sentence}: {why}{changed}.", before, is_fault=not partial)
        if link.event != STARTED:
            return Finding(place, f"{place} was changed: the first line of a chain says {STARTED}.")
        return None

    def follow(self, now: Seen) -> list[Finding]:
        """Take the next line of the chain, and return the faults that are known by now."""
        suspect = self._suspect
        if self._last.precedes(now):
            found = [] if suspect is None or self._reported else [self._stray(suspect)]
            self._resume(now)
        elif suspect is None:
            self._suspect, self._reported, found = now, False, []
        elif suspect.precedes(now):
            found = [] if self._reported else self._before(suspect)
            if self._reported:
                self._suspect = now
            else:
                self._accept(suspect)
                self._resume(now)
        elif now.link.seq == self._last.link.seq + 2 and not self._reported:
            found = [_fault(suspect, "was changed, or put in the place of another line")]
            self._resume(now)
        else:
            found = [] if self._reported else [self._stray(suspect)]
            self._suspect, self._reported = now, False
        return found + self._collect_unmet()

    def finish(self) -> list[Finding]:
        """The findings at the end of the chain: the line that was kept back, and expected heads that were not found."""
        found: list[Finding] = []
        suspect = self._suspect
        if suspect is not None and not self._reported:
            found = self._before(suspect, known=False)
            if suspect.link.seq > self._last.link.seq and not self._reported:
                self._accept(suspect)
        for seq in sorted(self._expected):
            beyond = seq > self._last.link.seq
            what = f"ends with line {self._last.link.seq}" if beyond else f"has no line {seq} here"
            place = self._last.place if beyond else self.first.place
            cut = "lines were cut off at its end" if beyond else "it cannot be compared"
            found.append(
                Finding(place, f"{place}: chain {self.head.chain} {what}, but its line {seq} was expected: {cut}.")
            )
        return found + self._collect_unmet()

    def _before(self, suspect: Seen, *, known: bool = True) -> list[Finding]:
        """Why `suspect` does not fit the line before it. `known`: the next line proves `suspect` to be unchanged."""
        last = self._last
        gap = suspect.link.seq - last.link.seq - 1
        if gap == 0:
            if known:
                return [_fault(last, f"was changed: {suspect.place} carries the hash of another text")]
            return [_fault(last, f"was changed, or the hash in {suspect.place} was")]
        if gap > 0:
            missing = _lines(last.link.seq + 1, suspect.link.seq - 1, f" of chain {self.head.chain}")
            sentence = f"Between {last.place} and {suspect.place}: {missing} removed."
            return [Finding(suspect.place, sentence, last.place)]
        rivals = [seen for seen in self._recent if seen.link.seq >= suspect.link.seq]
        if rivals and rivals[0].link.prev == suspect.link.prev and rivals[0].link.sha256 != suspect.link.sha256:
            return [_fault(seen, f"was inserted: the chain goes on at {suspect.place}") for seen in rivals]
        self._reported = known
        return [self._stray(suspect)]

    def _stray(self, seen: Seen) -> Finding:
        if len(self._moved) < _MOVED:
            self._moved[seen.link.seq] = seen
        return _fault(
            seen, f"does not belong there: line {seen.link.seq} of chain {seen.link.chain} was moved or inserted"
        )

    def _resume(self, now: Seen) -> None:
        self._suspect, self._reported = None, False
        self._accept(now)
        while (later := self._moved.pop(self._last.link.seq + 1, None)) is not None and self._last.precedes(later):
            self._accept(later)

    def _accept(self, seen: Seen) -> None:
        self.lines += 1
        if self.ended:
            self._unmet.append(_fault(seen, f"was added: chain {seen.link.chain} had ended before it"))
        self.ended = seen.link.event == ENDED
        self._last = seen
        self._recent.append(seen)
        self._held.append((seen.link.seq, seen.link.sha256))
        expected = self._expected.pop(seen.link.seq, seen.link.sha256)
        if expected != seen.link.sha256:
            self._unmet.append(
                _fault(seen, f"is not the line {seen.link.seq} that was expected: it, or one before, was changed")
            )

    def _collect_unmet(self) -> list[Finding]:
        unmet, self._unmet = self._unmet, []
        return unmet


def _fault(seen: Seen, what: str) -> Finding:
    return Finding(seen.place, f"{seen.place} {what}.")


def _lines(first: int, last: int, of: str = "") -> str:
    return f"line {first}{of} was" if first == last else f"lines {first} to {last}{of} were"
