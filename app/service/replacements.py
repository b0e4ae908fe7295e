"""The credentials whose reported token this replica has replaced in the last minute."""

from __future__ import annotations

from cachetools import LRUCache

from app.domain.names import CredentialRef
from app.service.shared_exchange import REPLACEMENT_SECONDS

MAX_REPLACEMENTS = 10_000
"""The number of credentials whose last replacement is remembered."""


class Replacements:
    """Limits replacements by this replica, even while the shared cache is unavailable."""

    def __init__(self) -> None:
        self._replaced = LRUCache[CredentialRef, float](MAX_REPLACEMENTS)

    def claim(self, ref: CredentialRef, now: float) -> bool:
        """Whether a token of `ref` may be replaced at `now` (Unix time in seconds); if so, it counts as replaced."""
        if now - self._replaced.get(ref, -REPLACEMENT_SECONDS) < REPLACEMENT_SECONDS:
            return False
        self._replaced[ref] = now
        return True

    def give_back(self, ref: CredentialRef) -> None:
        """Forget a claim: the exchange failed, so it did not replace anything."""
        self._replaced.pop(ref, None)
