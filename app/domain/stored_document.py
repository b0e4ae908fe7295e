"""Documents in the credential store, as the commands of operators read and change them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from app.domain.errors import BrokerError
from app.domain.names import CredentialRef

Version = NewType("Version", str)
"""The version of a document: a number of Vault, or a digest. Only to be compared."""


@dataclass(frozen=True, slots=True, order=True)
class DocumentPath:
    """Where a document is, below the prefix or the directory. Made of parsed names only.

    Args:
        parts: The folders, and the name of the document.

    """

    parts: tuple[str, ...]


def credential_path(ref: CredentialRef) -> DocumentPath:
    """Where the document of a credential is."""
    return DocumentPath((ref.org, ref.name))


def rotation_path(ref: CredentialRef) -> DocumentPath:
    """Where a command keeps what a rotation needs to go on after a crash. It is not a credential, and never listed."""
    return DocumentPath(("_rotations", ref.org, ref.name))


def app_rotation_path(name: str) -> DocumentPath:
    """The same for the secret of an app, by the app's name."""
    return DocumentPath(("_rotations", "_apps", name))


def certificate_rotation_path(ref: CredentialRef) -> DocumentPath:
    """Where a command keeps a new key until the credential's document has it. Like `rotation_path`, never listed."""
    return DocumentPath(("_certificates", ref.org, ref.name))


def migration_path(ref: CredentialRef) -> DocumentPath:
    """Where the document from before a migration is kept. Like `rotation_path`, never listed."""
    return DocumentPath(("_migrations", ref.org, ref.name))


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is stored, valid or not.

    Args:
        content: The decoded JSON object.
        version: Its version, to be given back with a change.

    """

    content: Mapping[str, object] = field(repr=False)
    version: Version


class DocumentChangedError(BrokerError):
    """A document is not in the version that a change was made for. Nothing was written."""

    code = "document_changed"

    def __init__(self) -> None:
        super().__init__("The document was changed by someone else meanwhile; nothing was written. Try again.")
