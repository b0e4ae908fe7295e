"""Events of this process: its policy, its key ring, its own certificate, its tasks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PolicyLoaded:
    """A policy came into force.

    Args:
        at: Unix time in seconds.
        version: Its version.
        notes: The places in it that allow nothing because something is left out or blank there; not all, if many.

    """

    at: float
    version: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyRefused:
    """A policy file was refused as a whole; the last good one stays in force. `reason` names the place in the file."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class KeyRingLoaded:
    """A key ring came into force.

    Args:
        at: Unix time in seconds.
        sealing: The id of the key that seals.
        keys: The ids of all keys, which open.

    """

    at: float
    sealing: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyRingRefused:
    """A changed key ring was refused as a whole; the last good one stays. `reason` names the place, never a key."""

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
class TaskFailed:
    """A background task ended with an unexpected error, of the type `error`, and was restarted."""

    task: str
    error: str
