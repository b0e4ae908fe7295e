"""What this replica knows of purges: the highest epoch seen of each credential."""

from __future__ import annotations

from collections.abc import Callable

from cachetools import LRUCache

from app.domain.access_token import AccessToken
from app.domain.names import CredentialRef

MAX_KNOWN = 200_000
"""Purged credentials that are remembered. One that is forgotten matters only to an exchange that is under way now."""


class Epochs:
    """Epochs only rise. A credential that was never purged is at 0 and takes no memory."""

    def __init__(self) -> None:
        self._known = LRUCache[CredentialRef, int](MAX_KNOWN)
        self._listeners: tuple[Callable[[CredentialRef], None], ...] = ()

    def when_raised(self, tell: Callable[[CredentialRef], None]) -> None:
        """Call `tell` with each credential whose epoch rises, by whatever way this replica learns of it."""
        self._listeners = (*self._listeners, tell)

    def of(self, ref: CredentialRef) -> int:
        """The highest epoch seen of `ref`."""
        return self._known.get(ref, 0)

    def refs(self) -> tuple[CredentialRef, ...]:
        """All credentials that are known to have been purged."""
        return tuple(self._known)

    def learn(self, ref: CredentialRef, epoch: int) -> bool:
        """Take note of `epoch`; True where it is news."""
        if epoch <= self.of(ref):
            return False
        self._known[ref] = epoch
        for tell in self._listeners:
            tell(ref)
        return True

    def allows(self, token: AccessToken) -> bool:
        """Whether `token` was minted after the last purge of its credential that is known here."""
        return token.epoch >= self.of(token.key.ref)
