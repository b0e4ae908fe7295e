"""Makes chained audit logs, and verifies lines as the command does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.audit.follow import Finding
from app.audit.lines import unwrapped
from app.audit.verify import AuditVerifier
from app.domain.audit_chain import Head

TIME = "2030-03-17T17:46:40.250Z"
FILE = "audit.log"


def log_line(event: str, **values: object) -> str:
    """A line of the log before it is chained."""
    members = "".join(f',"{name}":{_json(value)}' for name, value in values.items())
    return f'{{"audit":1,"time":"{TIME}","event":"{event}"{members}}}'


def _json(value: object) -> str:
    return "null" if value is None else str(value) if isinstance(value, int) else f'"{value}"'


@dataclass
class ChainedLog:
    """One process's chain.

    Args:
        chain: Its id.
        head: Its current head.

    """

    chain: str
    head: Head = field(init=False)

    def __post_init__(self) -> None:
        self.head = Head(self.chain)

    def start(self, after: Head | None = None) -> bytes:
        """Its first line."""
        if after is not None:
            self.head = Head(self.chain, 0, after.sha256)
        chain, seq = (None, None) if after is None else (after.chain, after.seq)
        return self.write("chain_started", after_chain=chain, after_seq=seq)

    def write(self, event: str = "policy_loaded", **values: object) -> bytes:
        """Its next line."""
        [line] = self.head.seal([log_line(event, **values)])
        self.head = self.head.after(1, line)
        return line

    def lines(self, count: int) -> list[bytes]:
        """A whole log of `count` lines, beginning with the chain's start."""
        return [self.start(), *(self.write(version=f"v{number}") for number in range(2, count + 1))]


def verified(
    lines: Sequence[bytes], *expected: Head, partial: bool = False, mixed: bool = False
) -> tuple[list[Finding], AuditVerifier]:
    """What is found in lines (without newlines), and who found it."""
    verifier = AuditVerifier(expected, partial=partial, mixed=mixed)
    return list(verifier.findings(unwrapped(FILE, [line + b"\n" for line in lines]))), verifier


def faults(lines: Sequence[bytes], *expected: Head, partial: bool = False, mixed: bool = False) -> list[Finding]:
    """What makes verification of `lines` fail."""
    return [one for one in verified(lines, *expected, partial=partial, mixed=mixed)[0] if one.is_fault]


def names(found: Sequence[Finding], number: int) -> bool:
    """Whether a finding names the line `number`, or the gap in which it was."""
    return any(
        f"{FILE} line {number} " in one.sentence
        or f"{FILE} line {number}:" in one.sentence
        or (one.after is not None and one.after.number <= number <= one.place.number)
        for one in found
    )
