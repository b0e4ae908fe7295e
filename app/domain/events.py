"""What happened, as events. Metrics and the audit log listen to the same stream, so they cannot differ.

An event never holds a token, a key, a secret or raw input: its SHA-256 names a token, and its parsed id an org.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.domain.decision import Decision
from app.domain.dependency import Dependency, dependency_works
from app.domain.names import CredentialRef, TokenKey
from app.domain.refusal_reason import CallerRefused as CallerRefused


@dataclass(slots=True)
class RequestDecided:
    """A request was answered.

    Args:
        at: Unix time in seconds.
        request_id: The request's id, as in the answer.
        decision: What was decided.
        trace_id: The id of the request's trace, 32 hex digits. The tracer sets it, if there is one: it is the first
            listener.

    """

    at: float
    request_id: str
    decision: Decision
    trace_id: str | None = None


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
class CacheLookedUp:
    """A tier of the cache was searched for a token, and had it, did not have it, or was unavailable."""

    tier: Literal["memory", "shared"]
    outcome: Literal["hit", "miss", "unavailable"]


@dataclass(frozen=True, slots=True)
class CacheRecordRefused:
    """A record in the shared cache did not match its key; it was treated as a miss.

    Args:
        key: The key of the record.
        reason: ``integrity`` (not sealed by the broker for this key), ``version``, or ``contradiction``.

    """

    key: TokenKey
    reason: Literal["integrity", "version", "contradiction"]


@dataclass(frozen=True, slots=True)
class DependencyCalled:
    """An external system was called.

    Args:
        dependency: ``redis``, ``vault``, ``ims``, ``jwks`` or ``token_review``.
        operation: The operation, such as ``read``; a constant of the code.
        outcome: ``ok``, ``cancelled``, or the error's code; for Redis, the kind of failure, such as ``timeout``.
        seconds: How long it took.

    """

    dependency: Dependency
    operation: str
    outcome: str
    seconds: float

    @property
    def works(self) -> bool | None:
        """Whether the dependency works; None if the call was cancelled here. See `dependency_works`."""
        return dependency_works(self.outcome)


@dataclass(frozen=True, slots=True)
class ClockCompared:
    """IMS sent its time. `ahead` is the number of seconds that this clock is ahead of it; negative if it is behind."""

    ahead: float


@dataclass(frozen=True, slots=True)
class PolicyLoaded:
    """A policy came into force at `at` (Unix time in seconds)."""

    at: float
    version: str


@dataclass(frozen=True, slots=True)
class PolicyRefused:
    """A policy file was refused as a whole; the last good one stays in force. `reason` names the place in the file."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class ServerCertificateLoaded:
    """The broker's own certificate came into force at `at`; it ends at `not_after` (both Unix time in seconds)."""

    at: float
    not_after: float


@dataclass(frozen=True, slots=True)
class ServerCertificateRefused:
    """A renewal of the broker's own certificate was refused; the last good one stays. `reason` never quotes it."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class CredentialPurged:
    """The epoch of a credential rose: no token minted before will be served.

    Args:
        at: Unix time in seconds.
        ref: The credential.
        epoch: The new epoch.
        origin: ``local`` if this replica took the request, ``remote`` if another did.

    """

    at: float
    ref: CredentialRef
    epoch: int
    origin: Literal["local", "remote"]


@dataclass(frozen=True, slots=True)
class PurgesUnpublished:
    """The process ends with purges that are not in the shared cache: other replicas may still serve purged tokens."""

    credentials: int


@dataclass(frozen=True, slots=True)
class CertificateSeen:
    """A credential with a certificate was read. `not_after` is Unix time in seconds."""

    ref: CredentialRef
    not_after: float


@dataclass(frozen=True, slots=True)
class MintFailed:
    """Minting failed, and so do the requests that wait for it. `detail` is in their answers; it has no secret."""

    ref: CredentialRef
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class RefreshFailed:
    """A refresh in the background failed; the current token is still valid, and still served."""

    ref: CredentialRef
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """A background task ended with an unexpected error, of the type `error`, and was restarted."""

    task: str
    error: str


Event = (
    RequestDecided
    | CallerRefused
    | ExchangeFinished
    | CacheLookedUp
    | CacheRecordRefused
    | DependencyCalled
    | ClockCompared
    | PolicyLoaded
    | PolicyRefused
    | ServerCertificateLoaded
    | ServerCertificateRefused
    | CredentialPurged
    | PurgesUnpublished
    | CertificateSeen
    | MintFailed
    | RefreshFailed
    | TaskFailed
)
