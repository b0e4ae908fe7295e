"""The journal: a limited list of the last requests, without tokens or secrets."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from heapq import merge
from operator import attrgetter

MAX_JOURNAL_ENTRIES = 100_000
EXCHANGES = "/ims/"
"""How the endpoints of exchanges begin."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One exchange, or one call of an Adobe API.

    Args:
        seq: Increases by one with each request, even after the journal was cleared.
        time: Unix time in seconds when it was decided.
        endpoint: ``/ims/exchange/jwt``, ``/ims/token``, ``/imp`` or ``/console/secrets``.
        client_id: The client, if the sandbox has it.
        org: Its org, if known.
        outcome: ``issued``, ``ok``, ``listed``, ``added``, ``deleted``, the error of the answer, or the kind of the
            fault that replaced it.
        fault: The kind of the fault that affected it, or None.
        token_sha256: SHA-256 of the token that was issued, or None.
        debug_id: The ``X-Debug-Id`` of the answer.

    """

    seq: int
    time: float
    endpoint: str
    client_id: str | None
    org: str | None
    outcome: str
    fault: str | None
    token_sha256: str | None
    debug_id: str | None = None

    def described(self) -> dict[str, object]:
        """All fields, for JSON."""
        return asdict(self)


class Journal:
    """The last exchanges, and the last calls of Adobe's APIs; of each, the oldest are dropped first."""

    def __init__(self) -> None:
        # Two lists: a service calls APIs far more often than it exchanges, and must not push the exchanges out.
        self._exchanges: deque[JournalEntry] = deque(maxlen=MAX_JOURNAL_ENTRIES)
        self._calls: deque[JournalEntry] = deque(maxlen=MAX_JOURNAL_ENTRIES)
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
        debug_id: str | None = None,
    ) -> None:
        """Add a request; the arguments are those of `JournalEntry`."""
        self._seq += 1
        entry = JournalEntry(self._seq, time, endpoint, client_id, org, outcome, fault, token_sha256, debug_id)
        (self._exchanges if endpoint.startswith(EXCHANGES) else self._calls).append(entry)

    def entries(self, since: int = 0, client_id: str | None = None, endpoint: str = EXCHANGES) -> list[JournalEntry]:
        """The entries after number `since`, oldest first.

        Args:
            since: A number of an entry.
            client_id: Only those of this client, if it is given.
            endpoint: Only those whose endpoint begins like this: exchanges unless said otherwise.

        """
        return [
            entry
            for entry in merge(self._exchanges, self._calls, key=attrgetter("seq"))
            if entry.seq > since and client_id in {None, entry.client_id} and entry.endpoint.startswith(endpoint)
        ]

    def clear(self) -> None:
        """Remove all entries; the numbers continue."""
        self._exchanges.clear()
        self._calls.clear()
