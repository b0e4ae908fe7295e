"""What the shared cache answers: an entry, the outcome of a write, and a purge."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.domain.access_token import AccessToken
from app.domain.names import CredentialRef

MAX_HOLD = 3600.0
"""Seconds. A longer back-off that IMS asks for counts as this."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What the shared cache knows about a key.

    Args:
        token: The token, unexpired or not, or None.
        epoch: The purge counter of the credential.
        hold: Seconds for which IMS asked not to be called with this credential again; 0 if it did not ask.

    """

    token: AccessToken | None
    epoch: int
    hold: float = 0.0


class StoreOutcome(Enum):
    """What became of a write to the shared cache."""

    STORED = "stored"
    OLDER = "older"
    STALE_EPOCH = "stale_epoch"


@dataclass(frozen=True, slots=True)
class Purge:
    """A replica raised the epoch of `ref` to `epoch`. If `ref` is None, some purges may have been missed."""

    ref: CredentialRef | None
    epoch: int
