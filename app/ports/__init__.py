"""The ports: interfaces to external systems. Each docstring says what an outage means for the caller.

All implementations are safe for concurrent use by the tasks of one event loop.
"""

from __future__ import annotations

from collections.abc import Callable

from app.domain.certificate_check import CertificateFacts
from app.ports.cache_ports import ExchangeBudget, Lease, LimitShares, PurgeLog, TokenCache
from app.ports.caller_ports import CallerVerifier, PolicySource
from app.ports.console_ports import ApiProbe, ClientSecrets
from app.ports.credential_ports import (
    AssertionSigner,
    CredentialStore,
    DocumentStore,
    RemoteKeys,
    TokenExchanger,
)
from app.ports.observer_ports import EventSink, RequestSink, Result, Tracer

__all__ = [
    "ApiProbe",
    "AssertionSigner",
    "CallerVerifier",
    "CertificateEnd",
    "CertificateReader",
    "ClientSecrets",
    "Clock",
    "CredentialStore",
    "DocumentStore",
    "EventSink",
    "ExchangeBudget",
    "Lease",
    "LimitShares",
    "PolicySource",
    "PurgeLog",
    "RemoteKeys",
    "RequestSink",
    "Result",
    "TokenCache",
    "TokenExchanger",
    "Tracer",
]

Clock = Callable[[], float]
"""Unix time in seconds."""

CertificateEnd = Callable[[str], float]
"""Unix time in seconds at which a PEM certificate ends."""

CertificateReader = Callable[[str], CertificateFacts]
"""What a PEM certificate says; raises `CredentialMisconfiguredError` for anything else."""
