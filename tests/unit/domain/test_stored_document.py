"""Where documents are stored: what a command keeps besides credentials is never taken for one."""

from __future__ import annotations

from app.domain.names import CredentialName, CredentialRef
from app.domain.stored_document import (
    DocumentChangedError,
    app_rotation_path,
    certificate_rotation_path,
    credential_path,
    migration_path,
    rotation_path,
)
from tests.factories import ORG

REF = CredentialRef(ORG, CredentialName("second"))


def test_each_kind_of_document_has_a_folder_of_its_own() -> None:
    """Stored documents are found again by later versions, so the names do not change."""
    assert credential_path(REF).parts == (ORG, "second")
    assert rotation_path(REF).parts == ("_rotations", ORG, "second")
    assert app_rotation_path("app-1").parts == ("_rotations", "_apps", "app-1")
    assert certificate_rotation_path(REF).parts == ("_certificates", ORG, "second")
    assert migration_path(REF).parts == ("_migrations", ORG, "second")


def test_a_document_that_was_changed_meanwhile_is_not_written() -> None:
    """The sentence says so, and what to do."""
    assert DocumentChangedError().detail == (
        "The document was changed by someone else meanwhile; nothing was written. Try again."
    )
