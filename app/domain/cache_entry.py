"""The answers of the shared cache: an entry, the outcome of a write, and a purge."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.domain.access_token import AccessToken
from app.domain.names import CredentialRef

MAX_HOLD = 3600.0
"""Seconds. A longer back-off that IMS asks for is cut to this."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """The state of a key in the shared cache.

    Args:
        token: The token, which may have expired, or None.
        epoch: The purge counter of the credential.
        hold: Seconds left of the back-off that IMS asked for with this credential; 0 if there is none.

    """

    token: AccessToken | None
    epoch: int
    hold: float = 0.0


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
