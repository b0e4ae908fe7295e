"""The purges that this replica knows of: the highest epoch seen for each credential."""

from __future__ import annotations

from collections.abc import Callable

from cachetools import LRUCache

from app.domain.access_token import AccessToken
from app.domain.names import CredentialRef

MAX_KNOWN = 200_000
"""Purged credentials that are remembered. A forgotten one matters only to an exchange that is running now."""


class Epochs:
    """Epochs only increase. The epoch of a credential that was never purged is 0, and takes no memory."""

    def __init__(self) -> None:
        self._known = LRUCache[CredentialRef, int](MAX_KNOWN)
        self._listeners: tuple[Callable[[CredentialRef], None], ...] = ()

    def when_raised(self, notify: Callable[[CredentialRef], None]) -> None:
        """Call `notify` with each credential whose epoch increases, however this replica learns of it."""
        self._listeners = (*self._listeners, notify)

    def of(self, ref: CredentialRef) -> int:
        """The highest epoch seen for `ref`."""
        return self._known.get(ref, 0)

    def refs(self) -> tuple[CredentialRef, ...]:
        """All credentials that are known to have been purged."""
        return tuple(self._known)

    def learn(self, ref: CredentialRef, epoch: int) -> bool:
        """Note `epoch`; True if it is higher than the known one."""
        if epoch <= self.of(ref):
            return False
        self._known[ref] = epoch
        for notify in self._listeners:
            notify(ref)
        return True

    def allows(self, token: AccessToken) -> bool:
        """Whether `token` was minted after the last known purge of its credential."""
        return token.epoch >= self.of(token.key.ref)
