"""The answers of the shared cache: an entry, the outcome of a write, and a purge."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.domain.access_token import AccessToken
from app.domain.names import CredentialRef

MAX_HOLD = 3600.0
"""Seconds. A longer back-off that IMS asks for is cut to this."""

MAX_EPOCH_AHEAD = 10 * 366 * 86_400_000
"""Milliseconds. Epochs follow the time, so one that is further ahead is forged. It would leave no room for purges."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """The state of a key in the shared cache.

    Args:
        token: The token, which may have expired, or None.
        epoch: The purge counter of the credential.
        hold: Seconds left of the back-off that IMS asked for with this credential; 0 if there is none.
        remaining: Seconds until the token expires by the clock of the shared cache; None if there is no token.

    """

    token: AccessToken | None
    epoch: int
    hold: float = 0.0
    remaining: float | None = None

    def clock_behind(self, now: float) -> float:
        """Seconds by which the clock that says `now` (Unix time) is behind; 0 if nothing here shows that it is.

        The shared cache has a clock of its own, and a token cannot have been minted in the future.
        """
        if self.token is None or self.remaining is None:
            return 0.0
        return max(0.0, self.token.minted_at - now, self.token.expires_at - now - self.remaining)


class StoreOutcome(Enum):
    """The outcome of a write to the shared cache."""

    STORED = "stored"
    OLDER = "older"
    STALE_EPOCH = "stale_epoch"


@dataclass(frozen=True, slots=True)
class Purge:
    """A replica raised the epoch of `ref` to `epoch`. If `ref` is None, some purges may have been missed."""

    ref: CredentialRef | None
    epoch: int
