"""The tokens that the keeper looks at, each at its own time, and whose turn it is among orgs."""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict, deque
from itertools import count

from app.domain.held_token import HeldToken
from app.domain.names import OrgId, TokenKey
from app.service.memory import TokenMemory

MAX_KEPT_OF_ORG = 2
"""Refreshes of one org that the keeper runs at the same time: one tenant whose exchanges hang delays no other."""

MOST_STALE = 1_000
"""Entries of tokens that were replaced or dropped, beyond the number of tokens in memory. At more, all are removed."""

_Entry = tuple[float, int, TokenKey]
"""When the token is due, and its key. An entry counts only if the token in memory is due at the same moment."""


class DueTokens:
    """Tokens in the order in which they are due. Of those that are due, the orgs take turns.

    Args:
        memory: The tokens of this replica.

    """

    def __init__(self, memory: TokenMemory) -> None:
        self._memory = memory
        self._later: list[_Entry] = []
        self._due: OrderedDict[OrgId, deque[_Entry]] = OrderedDict()
        self._entries = 0
        self._number = count()
        self._running: Counter[OrgId] = Counter()

    def __len__(self) -> int:
        return self._entries

    def add(self, held: HeldToken) -> None:
        """Note when `held` is due. An earlier entry of its key counts no longer."""
        if self._entries > 2 * len(self._memory) + MOST_STALE:
            self._remove_stale()
        heapq.heappush(self._later, (held.due, next(self._number), held.token.key))
        self._entries += 1

    def take(self, steady: float) -> HeldToken | None:
        """Remove the next token that is due and whose org has a place, or None.

        Args:
            steady: The steady clock in seconds.

        """
        while self._later and self._later[0][0] <= steady:
            entry = heapq.heappop(self._later)
            self._due.setdefault(entry[2].ref.org, deque()).append(entry)
        while (org := self._next_org()) is not None:
            entry = self._taken(org)
            if self._counts(entry):
                return self._memory.held(entry[2])
        return None

    def started(self, key: TokenKey) -> None:
        """The refresh for `key` takes one of the places of its org."""
        self._running[key.ref.org] += 1

    def ended(self, key: TokenKey) -> None:
        """The refresh for `key` has given its place back."""
        org = key.ref.org
        self._running[org] -= 1
        if not self._running[org]:
            del self._running[org]

    def _next_org(self) -> OrgId | None:
        return next((org for org in self._due if self._running[org] < MAX_KEPT_OF_ORG), None)

    def _taken(self, org: OrgId) -> _Entry:
        self._entries -= 1
        entries = self._due[org]
        entry = entries.popleft()
        if entries:
            self._due.move_to_end(org)
        else:
            del self._due[org]
        return entry

    def _remove_stale(self) -> None:
        entries = [*self._later, *(entry for waiting in self._due.values() for entry in waiting)]
        self._later = [entry for entry in entries if self._counts(entry)]
        heapq.heapify(self._later)
        self._due.clear()
        self._entries = len(self._later)

    def _counts(self, entry: _Entry) -> bool:
        held = self._memory.held(entry[2])
        return held is not None and held.due == entry[0]
