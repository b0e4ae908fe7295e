"""Whose client secrets a rotation replaces: those of a credential, or those of an app that many orgs share."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.app_document import AppName, app_path
from app.domain.names import CredentialRef
from app.domain.stored_document import DocumentPath, app_rotation_path, credential_path, rotation_path


@dataclass(frozen=True, slots=True)
class SecretOwner:
    """A document that has client secrets.

    Args:
        ref: The credential. Of an app: that of an org which uses it, and whose exchanges prove its secrets.
        app: The app; None if the credential's own document has the secrets.

    """

    ref: CredentialRef
    app: AppName | None = None

    @property
    def document_path(self) -> DocumentPath:
        """Where the document with the secrets is."""
        return credential_path(self.ref) if self.app is None else app_path(self.app)

    @property
    def state_path(self) -> DocumentPath:
        """Where the state of a rotation is kept: of an app the same, whichever org proves it."""
        return rotation_path(self.ref) if self.app is None else app_rotation_path(self.app)
