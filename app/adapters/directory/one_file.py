"""Reads one file of the directory store. All functions block, and run in a thread."""

from __future__ import annotations

import codecs
import hashlib
from pathlib import Path

from app.domain.credential_document import MAX_DOCUMENT_BYTES
from app.domain.dependency_errors import CredentialStoreError
from app.domain.strict_json import strict_json
from app.domain.tenant_errors import CredentialMisconfiguredError, CredentialNotFoundError
from app.process.regular_file import FileError, MissingFileError, UnreadableFileError, read_bytes

_VERSION_DIGITS = 12


def read_document(directory: Path, file: Path) -> bytes:
    """The content of `file` in `directory`.

    Raises:
        CredentialNotFoundError: There is no such file.
        CredentialMisconfiguredError: It is not a regular file, or is too large.
        CredentialStoreError: The directory or the file cannot be read.

    """
    try:
        return read_bytes(file, MAX_DOCUMENT_BYTES)
    except MissingFileError:
        if directory.is_dir():
            raise CredentialNotFoundError from None
        raise CredentialStoreError("The credential directory does not exist; check BROKER_CREDENTIAL_DIR.") from None
    except UnreadableFileError:
        raise CredentialStoreError(
            "A file in the credential directory cannot be read; check its permissions."
        ) from None
    except FileError as error:
        raise CredentialMisconfiguredError("document", error.reason) from None


def version_of(content: bytes) -> str:
    """The version of a document: a digest of its bytes."""
    return hashlib.sha256(content).hexdigest()[:_VERSION_DIGITS]


def parse_document(content: bytes) -> object:
    """The decoded JSON of a document.

    Raises:
        CredentialMisconfiguredError: It is not JSON text in UTF-8.

    """
    try:
        # Windows editors put a byte order mark first.
        return strict_json(content.removeprefix(codecs.BOM_UTF8))
    except ValueError as error:
        # Its text names no part of the document.
        raise CredentialMisconfiguredError("document", f"must be JSON text in UTF-8: {error}") from None
