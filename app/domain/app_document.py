"""The document of an app: one client at Adobe for many orgs (docs/contract.md section 2).

The documents of the orgs name it. The name is parsed into a type before it becomes part of a path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from app.domain.adobe_file import adobe_file
from app.domain.credential import CredentialKind
from app.domain.document_reader import DocumentReader
from app.domain.names import CREDENTIAL_NAME
from app.domain.secret_rotation_state import CONSOLE_FIELDS
from app.domain.stored_document import DocumentPath
from app.domain.tenant_errors import CredentialMisconfiguredError

AppName = NewType("AppName", str)
"""The name of an app's document; its form is that of the name of a credential."""

CLIENT_FIELDS = ("client_id", "client_secrets", "scopes", "ims_base_url")
"""The fields that an app's document has, and that the documents of its orgs leave out."""

APP_IS_MISSING = "nothing is stored at `<prefix>/_apps/<name>` (directory store: `_apps/<name>.json`)"
"""What is wrong with the field ``app`` if its document does not exist. The name is not repeated."""

_FOLDER = "_apps"
_NAME = re.compile(CREDENTIAL_NAME)
_FIELDS = frozenset(["kind", *CLIENT_FIELDS])


@dataclass(frozen=True, slots=True)
class StoredApp:
    """The document of an app, as a store has it.

    Args:
        name: Its name.
        content: The JSON object that is stored, valid or not.
        version: Its version.

    """

    name: AppName
    content: Mapping[object, object] = field(repr=False)
    version: str


def app_path(name: AppName) -> DocumentPath:
    """Where the document of an app is. No org has this folder's name, so it is never listed as a credential."""
    return DocumentPath((_FOLDER, name))


def stored_app(name: AppName, document: object, version: str) -> StoredApp:
    """The document of an app.

    Raises:
        CredentialMisconfiguredError: It is not a JSON object.

    """
    if not isinstance(document, Mapping):
        raise CredentialMisconfiguredError("document", "must be a JSON object")
    return StoredApp(name, document, version)


def app_of(document: object) -> AppName | None:
    """The app that the document of an org names; None if it names none, or is not a JSON object.

    Raises:
        CredentialMisconfiguredError: The field ``app`` is not a name.

    """
    if not isinstance(document, Mapping):
        return None
    reader = DocumentReader(document)
    if not reader.has("app"):
        return None
    value = reader.optional_text("app")
    if value is None or _NAME.fullmatch(value) is None:
        raise CredentialMisconfiguredError("app", "must be 1 to 64 letters, digits, hyphens or underscores")
    return AppName(value)


def app_reader(content: Mapping[object, object]) -> DocumentReader:
    """A reader of the document of an app, which has no unknown field; those of a rotation are ignored.

    Raises:
        CredentialMisconfiguredError: It is something else. The field is that of the app's document.

    """
    if (recognised := adobe_file(content)) is not None:
        raise CredentialMisconfiguredError("document", recognised)
    reader = DocumentReader(content)
    reader.refuse_unknown(_FIELDS, frozenset(CONSOLE_FIELDS))
    if reader.has("kind") and reader.text("kind") != CredentialKind.ENTERPRISE_WEB_APP:
        raise CredentialMisconfiguredError("kind", f"must be {CredentialKind.ENTERPRISE_WEB_APP}, or be left out")
    return reader


def of_app(error: CredentialMisconfiguredError) -> CredentialMisconfiguredError:
    """A defect of an app's document, as one of the field ``app`` of the document of an org."""
    return CredentialMisconfiguredError("app", f"{error.field}: {error.expected}")
