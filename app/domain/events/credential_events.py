"""Events in the life of one credential and its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.domain.names import CredentialRef


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
