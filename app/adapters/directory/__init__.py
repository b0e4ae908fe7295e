"""Tenants' credentials as files: the store that the broker reads, and the documents that commands change."""

from app.adapters.directory.directory_diagnosis import directory_finding
from app.adapters.directory.file_documents import DirectoryDocuments
from app.adapters.directory.store import DirectoryCredentialStore

__all__ = ["DirectoryCredentialStore", "DirectoryDocuments", "directory_finding"]
