"""What ``org import`` says: names of fields, counts and fingerprints, never a value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from app.domain.amount import amount

if TYPE_CHECKING:
    from app.domain.import_file import ImportInput
    from app.domain.stored_document import Version
    from app.lifecycle.import_credential import ImportOutcome, PreparedImport


@dataclass(frozen=True, slots=True)
class Imported:
    """An import that has ended.

    Args:
        given: What was read.
        prepared: What was compared and proven.
        outcome: How it ended.
        version: The version that was written, or None.

    """

    given: ImportInput
    prepared: PreparedImport
    outcome: ImportOutcome
    version: Version | None


def description(given: ImportInput, prepared: PreparedImport) -> Iterator[str]:
    """Lines that say what was read, what changes, and what was proven."""
    stored = "nothing is stored yet" if prepared.stored is None else f"version {prepared.stored.version} is stored"
    yield f"{given.ref.org}, credential {given.ref.name}: {given.source}; {stored}."
    for change in prepared.changes:
        if prepared.stored is None:
            yield f"  {change.field}: {change.after}"
        else:
            yield f"  {change.field}: {change.before or 'absent'} -> {change.after or 'absent'}"
    yield from prepared.notes
    if prepared.proofs:
        count, token = len(prepared.proofs), prepared.proofs[0].token
        secrets = "the client secret" if count == 1 else f"each of the {count} client secrets"
        scopes = amount(len(token.scopes), "scope")
        hours = (token.expires_at - token.issued_at) / 3600
        yield f"IMS accepts {secrets}: a token with {scopes} that lives {hours:.1f} h was issued."


def sentence(imported: Imported) -> str:
    """How it ended, in words."""
    from app.lifecycle.import_credential import ImportOutcome

    match imported.outcome:
        case ImportOutcome.CREATED:
            return f"Stored as version {imported.version}, and read back."
        case ImportOutcome.REPLACED:
            return f"Replaced by version {imported.version}, and read back."
        case ImportOutcome.UNCHANGED:
            return "Nothing to do: the same credential is stored already."
        case ImportOutcome.NOT_REPLACED:
            return "Not replaced."
        case _:
            return "Dry run: nothing was written."


def as_object(imported: Imported) -> dict[str, object]:
    """The answer of ``--json``."""
    given, prepared = imported.given, imported.prepared
    return {
        "org": given.ref.org,
        "credential": given.ref.name,
        "source": given.source,
        "outcome": imported.outcome.value,
        "version": imported.version,
        "changes": [asdict(change) for change in prepared.changes],
        "proof": _proof(prepared),
        "notes": list(prepared.notes),
    }


def _proof(prepared: PreparedImport) -> dict[str, object] | None:
    if not prepared.proofs:
        return None
    token = prepared.proofs[0].token
    return {
        "client_secrets": len(prepared.proofs),
        "scopes": list(token.scopes),
        "expires_in": round(token.expires_at - token.issued_at),
    }
