"""How far a rotation came, and the rules that say when it begins and when the old secret may be deleted."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.secret_owner import SecretOwner


@dataclass(frozen=True, slots=True)
class Rotated:
    """The rotation is finished: the old secret is deleted."""

    owner: SecretOwner
    new: str
    deleted: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """The new secret is in use, and the old one must not be deleted yet.

    Args:
        owner: Whose secret it is.
        until: Unix time in seconds of the next attempt.
        reason: The reason, for a person.

    """

    owner: SecretOwner
    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class NotDue:
    """The secret is younger than the age at which secrets are rotated."""

    owner: SecretOwner
    created_at: float


Progress = Rotated | Waiting | NotDue


@dataclass(frozen=True, slots=True)
class RotationRules:
    """When to begin, and when the old secret may be deleted.

    Args:
        quiet_for: Seconds without a use of the old secret before it is deleted.
        older_than: Seconds; a younger secret is not rotated, unless its rotation has begun.
        poll: Seconds between two looks at Adobe's record of uses, which comes with a delay.
        at_once: Do not wait for the old secret to be quiet, as after a leak.

    """

    quiet_for: float = 3600.0
    older_than: float = 0.0
    poll: float = 30.0
    at_once: bool = False
