"""Which credentials have had a reported token replaced in the last minute, as far as this replica knows."""

from __future__ import annotations

from cachetools import LRUCache

from app.domain.names import CredentialRef
from app.service.shared_exchange import REPLACEMENT_SECONDS

MAX_REMEMBERED = 10_000
"""Credentials whose last replacement is remembered at once."""


class Replacements:
    """Bounds replacements in this replica, also while the shared cache is away."""

    def __init__(self) -> None:
        self._replaced = LRUCache[CredentialRef, float](MAX_REMEMBERED)

    def claim(self, ref: CredentialRef, now: float) -> bool:
        """Whether a token of `ref` may be replaced at `now` (Unix time in seconds); if so, it counts as replaced."""
        if now - self._replaced.get(ref, -REPLACEMENT_SECONDS) < REPLACEMENT_SECONDS:
            return False
        self._replaced[ref] = now
        return True

    def give_back(self, ref: CredentialRef) -> None:
        """Forget a claim: the exchange failed, so it did not replace anything."""
        self._replaced.pop(ref, None)
