"""The journal: a limited list of the last exchanges, without tokens or secrets."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass

MAX_JOURNAL_ENTRIES = 100_000


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One exchange.

    Args:
        seq: Increases by one with each exchange, even after the journal was cleared.
        time: Unix time in seconds when it was decided.
        endpoint: ``/ims/exchange/jwt`` or ``/ims/token``.
        client_id: The client, if the sandbox has it.
        org: Its org, if known.
        outcome: ``issued``, the ``error`` of the answer, or the kind of the fault that replaced it.
        fault: The kind of the fault that affected it, or None.
        token_sha256: SHA-256 of the token issued, or None.

    """

    seq: int
    time: float
    endpoint: str
    client_id: str | None
    org: str | None
    outcome: str
    fault: str | None
    token_sha256: str | None

    def described(self) -> dict[str, object]:
        """All fields, for JSON."""
        return asdict(self)


class Journal:
    """The last exchanges; the oldest are dropped first."""

    def __init__(self) -> None:
        self._entries: deque[JournalEntry] = deque(maxlen=MAX_JOURNAL_ENTRIES)
        self._seq = 0

    def add(
        self,
        time: float,
        endpoint: str,
        client_id: str | None,
        org: str | None,
        outcome: str,
        *,
        fault: str | None = None,
        token_sha256: str | None = None,
    ) -> None:
        """Add an exchange; the arguments are those of `JournalEntry`."""
        self._seq += 1
        self._entries.append(JournalEntry(self._seq, time, endpoint, client_id, org, outcome, fault, token_sha256))

    def entries(self, since: int = 0, client_id: str | None = None) -> list[JournalEntry]:
        """The entries after number `since`, oldest first; only those of `client_id`, if it is given."""
        return [entry for entry in self._entries if entry.seq > since and client_id in {None, entry.client_id}]

    def clear(self) -> None:
        """Remove all entries; the numbers continue."""
        self._entries.clear()
