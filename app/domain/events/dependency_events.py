"""Events of calls to outside systems, and of what they returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.domain.dependency import Dependency, dependency_works
from app.domain.names import CredentialRef, TokenKey


@dataclass(frozen=True, slots=True)
class ExchangeFinished:
    """One call to IMS ended.

    Args:
        ref: The credential.
        kind: The credential's kind.
        outcome: ``issued``, ``cancelled``, or the error's code.
        seconds: How long it took.
        ims_error: The error code of IMS, if it gave one.
        debug_id: The ``X-Debug-Id`` of IMS.

    """

    ref: CredentialRef
    kind: str
    outcome: str
    seconds: float
    ims_error: str | None = None
    debug_id: str | None = None


@dataclass(frozen=True, slots=True)
class DependencyCalled:
    """An external system was called.

    Args:
        dependency: ``redis``, ``vault``, ``ims``, ``jwks``, ``token_review`` or ``kms``.
        operation: The operation, such as ``read``; a constant of the code.
        outcome: ``ok``, ``cancelled``, or the error's code; for Redis, the kind of failure, such as ``timeout``.
        seconds: How long it took.
        reason: Why it failed and what to do, in one sentence for the operator. It has no value in it.
        elsewhere: True if the called place is one that only some documents name, such as another AWS region.

    """

    dependency: Dependency
    operation: str
    outcome: str
    seconds: float
    reason: str | None = None
    elsewhere: Literal[True] | None = None

    @property
    def works(self) -> bool | None:
        """Whether the dependency works; None if the call says nothing about it as a whole. See `dependency_works`."""
        return None if self.elsewhere else dependency_works(self.outcome)


@dataclass(frozen=True, slots=True)
class DependencyChecked:
    """An external system was checked when the process started.

    Args:
        dependency: ``redis`` or ``vault``.
        ready: Whether the broker can use it.
        reason: If not, why not and what to do. It has no value in it.

    """

    dependency: Dependency
    ready: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ClockCompared:
    """IMS sent its time. `ahead` is the number of seconds that this clock is ahead of it; negative if it is behind."""

    ahead: float


@dataclass(frozen=True, slots=True)
class CacheLookedUp:
    """A tier of the cache was searched for a token, and had it, did not have it, or was unavailable."""

    tier: Literal["memory", "shared"]
    outcome: Literal["hit", "miss", "unavailable"]


@dataclass(frozen=True, slots=True)
class CacheRecordRefused:
    """A record in the shared cache did not match its key; it was treated as a miss.

    Args:
        key: The key of the record.
        reason: ``integrity`` (not sealed by the broker for this key), ``unknown_key`` (sealed with a key that this
            replica's key ring does not have), ``version``, or ``contradiction``.

    """

    key: TokenKey
    reason: Literal["integrity", "unknown_key", "version", "contradiction"]
