"""The purges that this replica knows of: the highest epoch seen for each credential, and its ``not_before``."""

from __future__ import annotations

from collections.abc import Callable

from cachetools import LRUCache

from app.domain.access_token import AccessToken
from app.domain.names import CredentialRef

MAX_KNOWN = 200_000
"""Purged credentials in use that are remembered."""

MAX_ANNOUNCED = 200_000
"""Other purged credentials that are remembered. Whoever writes to Redis can announce any number of purges."""

MAX_BARRED = 10_000
"""Credentials whose ``not_before`` is remembered. A forgotten one is learned again when the document is read."""


class Epochs:
    """Epochs only increase. The epoch of a credential that was never purged is 0, and takes no memory.

    Epochs of credentials in use here are kept apart, so that announcements of other ones cannot push them out.
    Otherwise an intruder in Redis could make a replica forget a purge, and then restore the purged token.

    Args:
        announced: The number of purged credentials to remember that are not in use here.

    """

    def __init__(self, announced: int = MAX_ANNOUNCED) -> None:
        self._in_use = LRUCache[CredentialRef, int](MAX_KNOWN)
        self._announced = LRUCache[CredentialRef, int](announced)
        self._barred = LRUCache[CredentialRef, float](MAX_BARRED)
        self._listeners: tuple[Callable[[CredentialRef], None], ...] = ()

    def when_raised(self, notify: Callable[[CredentialRef], None]) -> None:
        """Call `notify` with each credential whose epoch increases, however this replica learns of it."""
        self._listeners = (*self._listeners, notify)

    def of(self, ref: CredentialRef) -> int:
        """The highest epoch seen for `ref`."""
        return self._in_use.get(ref) or self._announced.get(ref, 0)

    def refs(self) -> tuple[CredentialRef, ...]:
        """All credentials that are known to have been purged."""
        return (*self._in_use, *self._announced)

    def learn(self, ref: CredentialRef, epoch: int, *, in_use: bool = False) -> bool:
        """Note `epoch`; True if it is higher than the known one.

        Args:
            ref: The credential.
            epoch: Its epoch.
            in_use: Whether a caller of this replica asked for `ref`, now or for a token that is in memory.

        """
        known = self.of(ref)
        latest = max(known, epoch)
        if latest and (in_use or ref in self._in_use):
            self._announced.pop(ref, None)
            self._in_use[ref] = latest
        elif epoch > known:
            self._announced[ref] = epoch
        if epoch <= known:
            return False
        for notify in self._listeners:
            notify(ref)
        return True

    def allows(self, token: AccessToken) -> bool:
        """Whether `token` was minted after the last known purge and the ``not_before`` of its credential."""
        ref = token.key.ref
        return token.epoch >= self.of(ref) and token.minted_at >= self._barred.get(ref, token.minted_at)

    def bar(self, ref: CredentialRef, not_before: float) -> None:
        """Allow no token of `ref` that was minted before `not_before` (Unix time in seconds)."""
        self._barred[ref] = not_before
