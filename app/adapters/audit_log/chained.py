"""The two forms of the log: plain lines, or a hash chain with lines about itself. Used by the writing thread alone."""

from __future__ import annotations

import json
import secrets

from app.adapters.audit_log.audit_lines import AuditLines
from app.adapters.audit_log.output import Output
from app.domain.audit_chain import ENDED, LINES_LOST, STARTED, Head, link_of


class Plain:
    """Lines as they are."""

    def begin(self, output: Output) -> None:
        """Nothing to begin with."""

    def bytes_of(self, lines: list[str], _at: float, _lost: int, *, ending: bool) -> bytes:  # noqa: ARG002  # as `Chained`
        """What to write for `lines`."""
        return "\n".join((*lines, "")).encode()

    def wrote(self, whole: int) -> int:
        """How many of the lines are out when `whole` were written."""
        return whole


class Chained:
    """Lines of one chain, which begins with this process and goes on through rotations.

    Its head moves only over lines that were written whole: lost lines leave no gap, and a line counts them.

    Args:
        lines: Makes the lines about the log.

    """

    def __init__(self, lines: AuditLines) -> None:
        self._lines = lines
        self._head = Head(secrets.token_hex(8))
        self._follows: Head | None = None
        self._told_lost = 0
        self._lost = 0
        self._own: list[str] = []
        self._events = 0
        self._sealed: list[bytes] = []

    def begin(self, output: Output) -> None:
        """Tie the chain to the last line that an earlier process left in the same file, if there is one in a chain."""
        line = output.last_line()
        self._follows = None if line is None else _head_of(line)
        if self._follows is not None:
            self._head = Head(self._head.chain, 0, self._follows.sha256)

    def bytes_of(self, lines: list[str], at: float, lost: int, *, ending: bool) -> bytes:
        """What to write for `lines` at Unix time `at`, when `lost` lines were lost so far."""
        self._lost = lost
        self._own = self._about_the_log(at)
        self._events = len(lines)
        closing = [self._lines.about_the_log(at, ENDED)] if ending else []
        self._sealed = self._head.seal([*self._own, *lines, *closing])
        return b"\n".join((*self._sealed, b""))

    def wrote(self, whole: int) -> int:
        """How many of the lines are out when `whole` were written, those about the log included."""
        if whole:
            self._head = self._head.after(whole, self._sealed[whole - 1])
        if whole >= len(self._own):
            self._told_lost = self._lost
        return min(self._events, max(0, whole - len(self._own)))

    def _about_the_log(self, at: float) -> list[str]:
        own = []
        if self._head.seq == 0:
            chain, seq = (None, None) if self._follows is None else (self._follows.chain, self._follows.seq)
            own.append(self._lines.about_the_log(at, STARTED, after_chain=chain, after_seq=seq))
        if self._lost > self._told_lost:
            own.append(self._lines.about_the_log(at, LINES_LOST, count=self._lost - self._told_lost))
        return own


def _head_of(line: bytes) -> Head | None:
    """The head that a chain has after `line`; None if the line is not in a chain."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    link = link_of(record, line) if isinstance(record, dict) else None
    return None if link is None else Head(link.chain, link.seq, link.sha256)
