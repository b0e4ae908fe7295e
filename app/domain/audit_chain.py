"""The rule of the audit log's hash chain: each line carries the SHA-256 of the line before it in its chain.

A line is hashed as the bytes that were written, without the newline. The members of the chain come first in a line,
so that a truncated line still shows its chain. The chain has no key: it proves the order of the lines only to a reader
who stored a chain head in another place.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from typing_extensions import override

GENESIS = "0" * 64
"""The hash in the first line of a chain, if the file had no line before it."""

STARTED, ENDED, LINES_LOST = "chain_started", "chain_ended", "lines_lost"
"""Events about the log itself."""

OPENING = '{"audit":1,'
"""The beginning of every line, in a chain or not."""

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
        chain: The id of the chain: 16 hex digits, drawn at random when a process starts.
        seq: The line's number in the chain, from 1; 0 if there is no line yet.
        sha256: The SHA-256 of the line; `GENESIS` if there is no line yet.

    """

    chain: str
    seq: int = 0
    sha256: str = GENESIS

    @override
    def __str__(self) -> str:
        return f"{self.chain}:{self.seq}:{self.sha256}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Parse the text that `str` makes.

        Raises:
            ValueError: The text has another form.

        """
        chain, _, rest = text.partition(":")
        seq, _, sha256 = rest.partition(":")
        numeric = seq.isascii() and seq.isdigit() and len(seq) <= len(str(_MAX_SEQ))
        if not (CHAIN_ID.fullmatch(chain) and numeric and int(seq) > 0 and _SHA256.fullmatch(sha256)):
            raise ValueError("must be CHAIN:SEQ:SHA256, as `audit verify` prints it")
        return cls(chain, int(seq), sha256)

    def after(self, count: int, line: bytes) -> Head:
        """The head after `count` more lines; `line` is the last of them."""
        return Head(self.chain, self.seq + count, line_sha256(line))

    def seal(self, lines: list[str]) -> list[bytes]:
        """Make `lines` the next ones of the chain. Each must begin with `OPENING`."""
        sealed: list[bytes] = []
        previous = self.sha256
        for seq, line in enumerate(lines, self.seq + 1):
            members = f'"chain":"{self.chain}","seq":{seq},"prev":"{previous}",'
            sealed.append(f"{OPENING}{members}{line[len(OPENING) :]}".encode())
            previous = line_sha256(sealed[-1])
        return sealed


@dataclass(frozen=True, slots=True)
class Link:
    """The place that a line states for itself.

    Args:
        chain: Its chain.
        seq: Its number in the chain.
        prev: SHA-256 of the line before.
        sha256: SHA-256 of this line.
        event: The name of its event.
        follows: For the first line of a chain: the last line that the process found in its file, of any chain.

    """

    chain: str
    seq: int
    prev: str
    sha256: str
    event: str
    follows: Head | None = None


def link_of(record: dict[str, object], line: bytes) -> Link | None:
    """The place of a line that was parsed to `record`; None if the line is not in a chain."""
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
