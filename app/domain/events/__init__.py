"""What happened, as events. Metrics and the audit log listen to the same stream, so they cannot differ.

An event never holds a token, a key, a secret or raw input: its SHA-256 names a token, and its parsed id an org.
"""

from __future__ import annotations

from app.domain.events.credential_events import (
    CertificateSeen,
    CredentialPurged,
    MintFailed,
    PurgesUnpublished,
    RefreshFailed,
)
from app.domain.events.dependency_events import (
    CacheLookedUp,
    CacheRecordRefused,
    ClockCompared,
    DependencyCalled,
    DependencyChecked,
    ExchangeFinished,
)
from app.domain.events.process_events import (
    KeyRingLoaded,
    KeyRingRefused,
    PolicyLoaded,
    PolicyRefused,
    ServerCertificateLoaded,
    ServerCertificateRefused,
    TaskFailed,
)
from app.domain.events.request_events import RequestDecided
from app.domain.refusal_reason import CallerRefused

__all__ = [
    "CacheLookedUp",
    "CacheRecordRefused",
    "CallerRefused",
    "CertificateSeen",
    "ClockCompared",
    "CredentialPurged",
    "DependencyCalled",
    "DependencyChecked",
    "Event",
    "ExchangeFinished",
    "KeyRingLoaded",
    "KeyRingRefused",
    "MintFailed",
    "PolicyLoaded",
    "PolicyRefused",
    "PurgesUnpublished",
    "RefreshFailed",
    "RequestDecided",
    "ServerCertificateLoaded",
    "ServerCertificateRefused",
    "TaskFailed",
]

Event = (
    RequestDecided
    | CallerRefused
    | ExchangeFinished
    | CacheLookedUp
    | CacheRecordRefused
    | DependencyCalled
    | DependencyChecked
    | ClockCompared
    | PolicyLoaded
    | PolicyRefused
    | KeyRingLoaded
    | KeyRingRefused
    | ServerCertificateLoaded
    | ServerCertificateRefused
    | CredentialPurged
    | PurgesUnpublished
    | CertificateSeen
    | MintFailed
    | RefreshFailed
    | TaskFailed
)
