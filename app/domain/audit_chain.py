"""The rule of the audit log's hash chain: each line carries the SHA-256 of the line before it in its chain.

A line is hashed as it was written, in bytes, without its newline. The chain's members stand first in a line, so that
one that was cut short still tells whose it was. The chain has no key: it proves an order to those who kept a head.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from typing_extensions import override

GENESIS = "0" * 64
"""What the first line of a chain carries where no line was before it."""

STARTED, ENDED, LINES_LOST = "chain_started", "chain_ended", "lines_lost"
"""Events that are about the log itself."""

OPENING = '{"audit":1,'
"""How every line begins, chained or not."""

CHAIN_ID = re.compile(r"[0-9a-f]{16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_SEQ = 10**15


def line_sha256(line: bytes) -> str:
    """The SHA-256 of a line without its newline: 64 lower-case hex digits."""
    return hashlib.sha256(line).hexdigest()


@dataclass(frozen=True, slots=True)
class Head:
    """The last line of a chain. As text (``CHAIN:SEQ:SHA256``) it can be kept elsewhere.

    Args:
        chain: Which chain: 16 hex digits, drawn at each start of a process.
        seq: The line's number in it; the first has 1. 0 where there is no line yet.
        sha256: Of the line; `GENESIS` where there is none yet.

    """

    chain: str
    seq: int = 0
    sha256: str = GENESIS

    @override
    def __str__(self) -> str:
        return f"{self.chain}:{self.seq}:{self.sha256}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read what `str` makes.

        Raises:
            ValueError: It is not of that form.

        """
        chain, _, rest = text.partition(":")
        seq, _, sha256 = rest.partition(":")
        numeric = seq.isascii() and seq.isdigit() and len(seq) <= len(str(_MAX_SEQ))
        if not (CHAIN_ID.fullmatch(chain) and numeric and int(seq) > 0 and _SHA256.fullmatch(sha256)):
            raise ValueError("must be CHAIN:SEQ:SHA256, as `audit verify` prints it")
        return cls(chain, int(seq), sha256)

    def after(self, count: int, line: bytes) -> Head:
        """The head when `count` more lines were written, the last of which is `line`."""
        return Head(self.chain, self.seq + count, line_sha256(line))

    def seal(self, lines: list[str]) -> list[bytes]:
        """Make `lines`, which begin with `OPENING`, the next ones of the chain."""
        sealed: list[bytes] = []
        previous = self.sha256
        for seq, line in enumerate(lines, self.seq + 1):
            members = f'"chain":"{self.chain}","seq":{seq},"prev":"{previous}",'
            sealed.append(f"{OPENING}{members}{line[len(OPENING) :]}".encode())
            previous = line_sha256(sealed[-1])
        return sealed


@dataclass(frozen=True, slots=True)
class Link:
    """What a line says of its place.

    Args:
        chain: Its chain.
        seq: Its number in the chain.
        prev: SHA-256 of the line before.
        sha256: Its own.
        event: Its kind.
        follows: Where a chain starts: the last line that the process found in its file, of whatever chain.

    """

    chain: str
    seq: int
    prev: str
    sha256: str
    event: str
    follows: Head | None = None


def link_of(record: dict[str, object], line: bytes) -> Link | None:
    """The place of a line that was parsed to `record`; None for one that is in no chain."""
    chain, seq, prev = record.get("chain"), record.get("seq"), record.get("prev")
    if not (isinstance(chain, str) and type(seq) is int and isinstance(prev, str) and "audit" in record):
        return None
    if not (CHAIN_ID.fullmatch(chain) and _SHA256.fullmatch(prev) and 0 < seq <= _MAX_SEQ):
        return None
    follows = None
    after_chain, after_seq = record.get("after_chain"), record.get("after_seq")
    if isinstance(after_chain, str) and type(after_seq) is int:
        follows = Head(after_chain, after_seq, prev)
    return Link(chain, seq, prev, line_sha256(line), str(record.get("event")), follows)
