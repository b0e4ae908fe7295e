"""How ``secret rotate`` names and describes what came of a rotation, for persons and for programs."""

from __future__ import annotations

from app.cli.operator_words import operator_sentence
from app.cli.org_options import name_of
from app.domain.rfc3339 import rfc3339
from app.domain.secret_owner import SecretOwner
from app.lifecycle.rotate_many import Failed, Outcome
from app.lifecycle.rotation_progress import NotDue, Rotated, Waiting


def owner_name(owner: SecretOwner) -> str:
    """An owner in a sentence."""
    return name_of(owner.ref) if owner.app is None else f"app {owner.app}"


def owner_members(owner: SecretOwner) -> dict[str, object]:
    """The members of a result that say whose secret it is."""
    return {"org": owner.ref.org, "credential": owner.ref.name} if owner.app is None else {"app": owner.app}


def rotation_sentence(outcome: Outcome) -> str:
    """An outcome in a sentence."""
    match outcome:
        case Rotated():
            return f"{owner_name(outcome.owner)}: rotated; the new secret is in use, and the old one is deleted."
        case Waiting():
            return f"{owner_name(outcome.owner)}: waiting until {rfc3339(outcome.until)}, because {outcome.reason}."
        case NotDue():
            return f"{owner_name(outcome.owner)}: not due; its secret is of {rfc3339(outcome.created_at)}."
        case Failed():
            return f"{owner_name(outcome.owner)}: failed: {operator_sentence(outcome.error)}"


def rotation_members(outcome: Outcome) -> dict[str, object]:
    """An outcome as one of the ``results``."""
    named = owner_members(outcome.owner)
    match outcome:
        case Rotated():
            return {**named, "status": "rotated", "new": outcome.new, "deleted": outcome.deleted}
        case Waiting():
            return {**named, "status": "waiting", "until": rfc3339(outcome.until), "reason": outcome.reason}
        case NotDue():
            return {**named, "status": "not_due", "created_at": rfc3339(outcome.created_at)}
        case Failed():
            return {**named, "status": "failed", "code": outcome.error.code, "detail": operator_sentence(outcome.error)}
