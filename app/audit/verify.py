"""Verifies audit logs. Each chain is followed by its id, so the lines of several chains may be interleaved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.audit.follow import ChainFollower, Finding, Seen
from app.audit.lines import AuditLine, Place
from app.domain.audit_chain import LINES_LOST, OPENING, STARTED, Head, Link, link_of

_CHAINED = f'{OPENING}"chain":"'.encode()


@dataclass(slots=True)
class ChainSummary:
    """A chain, after all lines were read.

    Args:
        head: Its last line; store it elsewhere.
        first: Number of its first line that was read.
        lines: Number of lines that verify.
        ended: Whether its process ended cleanly. If not, it is running, was killed, or the end was cut off.
        lost: Lines that the log says it could not write.

    """

    head: Head
    first: int
    lines: int
    ended: bool
    lost: int


class AuditVerifier:
    """Reads lines in order. `findings` reports faults while it reads; `chains` summarizes what was read.

    Args:
        expected: Heads that were kept elsewhere: those lines must be there.
        partial: Accept chains that begin in the middle, because earlier files were left out.
        mixed: Accept lines without a chain: of other programs, or from before the chain was turned on.

    """

    def __init__(self, expected: Sequence[Head] = (), *, partial: bool = False, mixed: bool = False) -> None:
        self._expected = list(expected)
        self._partial = partial
        self._mixed = mixed
        self._chains: dict[str, ChainFollower] = {}
        self._lost: dict[str, int] = {}
        self._stump: AuditLine | None = None
        self.other_lines = 0

    def findings(self, lines: Iterable[AuditLine]) -> Iterator[Finding]:
        """All findings, in the order in which they become known."""
        before: Place | None = None
        for line in lines:
            record = line.record()
            link = None if record is None else link_of(record, line.text)
            if link is None or record is None:
                yield from self._unchained(line, readable=record is not None)
                before = line.place
                continue
            yield from self._after_stump(line, link)
            if link.event == LINES_LOST and isinstance(count := record.get("count"), int):
                self._lost[link.chain] = self._lost.get(link.chain, 0) + count
            yield from self._chained(Seen(link, line.place), before)
            before = line.place
        yield from self._end()

    def chains(self) -> list[ChainSummary]:
        """All chains, in the order in which they began."""
        return [
            ChainSummary(chain.head, chain.first.link.seq, chain.lines, chain.ended, self._lost.get(name, 0))
            for name, chain in self._chains.items()
        ]

    def _chained(self, seen: Seen, before: Place | None) -> list[Finding]:
        chain = self._chains.get(seen.link.chain)
        if chain is not None:
            return chain.follow(seen)
        expected = [head for head in self._expected if head.chain == seen.link.chain]
        chain = self._chains[seen.link.chain] = ChainFollower(seen, expected)
        found = [chain.begins_badly(before, partial=self._partial), self._tied(seen)]
        return [finding for finding in found if finding is not None]

    def _tied(self, start: Seen) -> Finding | None:
        """Check that the line which a starting process found at the end of its file is there."""
        follows, place = start.link.follows, start.place
        if follows is None:
            return None
        before = self._chains.get(follows.chain)
        if before is None:
            sentence = f"{place}: the process found line {follows.seq} of chain {follows.chain}, which is not here"
            why = "in files that were not given" if self._partial else "removed, or in an earlier file (see --partial)"
            return Finding(place, f"{sentence}: {why}.", is_fault=not self._partial)
        newest = before.newest
        if newest.link.seq < follows.seq:
            sentence = f"lines {newest.link.seq + 1} to {follows.seq} of chain {follows.chain} were removed"
            return Finding(place, f"Between {newest.place} and {place}: {sentence}.", newest.place)
        if newest.link.seq == follows.seq and newest.link.sha256 != follows.sha256:
            return Finding(newest.place, f"{newest.place} was changed: {place} carries the hash of another text.")
        if newest.link.seq > follows.seq:
            return _overtaken(before, follows, newest, place)
        return None

    def _unchained(self, line: AuditLine, *, readable: bool) -> Iterator[Finding]:
        yield from self._after_stump(line, None)
        if not readable and (line.text.startswith(_CHAINED) or _CHAINED.startswith(line.text)) and line.text:
            self._stump = line
        else:
            self.other_lines += 1
            if not self._mixed:
                yield Finding(
                    line.place,
                    f"{line.place} is in no chain: it was changed, inserted, or is not an audit line (see --mixed).",
                )

    def _after_stump(self, line: AuditLine | None, link: Link | None) -> Iterator[Finding]:
        """A line was cut short: no fault if the next line says that lines were lost, or that a process started.

        Nor if the next line is the same one, whole: then nothing was lost.
        """
        stump, self._stump = self._stump, None
        if stump is None:
            return
        if link is not None and link.event in {LINES_LOST, STARTED}:
            why = "the log could not be written then" if link.event == LINES_LOST else "its process was stopped then"
            yield Finding(stump.place, f"{stump.place} is torn: {why}.", is_fault=False)
        elif line is not None and line.text.startswith(stump.text):
            yield Finding(stump.place, f"{stump.place} is torn: it was written again after it.", is_fault=False)
        else:
            yield Finding(stump.place, f"{stump.place} was cut short, or damaged, after it was written.")

    def _end(self) -> Iterator[Finding]:
        if self._stump is not None and not self._stump.whole:
            place = self._stump.place
            yield Finding(place, f"{place} ends within the line: it is being written, or torn.", is_fault=False)
            self._stump = None
        yield from self._after_stump(None, None)
        for chain in self._chains.values():
            yield from chain.finish()

    def missing_chains(self) -> list[Head]:
        """Expected heads of chains that are missing."""
        return [head for head in self._expected if head.chain not in self._chains]


def _overtaken(before: ChainFollower, follows: Head, newest: Seen, place: Place) -> Finding:
    """The finding for lines between the last one that a starting process found and its own first line."""
    added = f"lines {follows.seq + 1} to {newest.link.seq} of chain {follows.chain}"
    if before.has_accepted(follows):
        sentence = f"{added} were written while the next process began, or were added to the end of a stopped one"
        return Finding(place, f"Before {place}: {sentence}.", is_fault=False)
    sentence = (
        f"the process found another line {follows.seq} of chain {follows.chain}: it was changed, and {added} added"
    )
    return Finding(place, f"{place}: {sentence}.", newest.place)
