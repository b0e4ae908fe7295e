"""What ``org import`` reads: Adobe's file, and the files that complete it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.failure import USAGE, CommandError

if TYPE_CHECKING:
    from app.domain.import_options import ImportOptions
    from app.domain.names import CredentialName, CredentialRef

_MAX_PEM_BYTES = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ImportInput:
    """A credential that may be imported.

    Args:
        source: What the file is, for a sentence.
        ref: The credential.
        document: Its document, complete.
        whole: Whether the file was a document of the broker, so that nothing is added to it.
        notes: What a person should know.

    """

    source: str
    ref: CredentialRef
    document: dict[str, object] = field(repr=False)
    whole: bool
    notes: tuple[str, ...] = ()


def read_options(
    org: str | None,
    client_id: str | None,
    private_key: Path | None,
    passphrase: Path | None,
    certificate: Path | None,
    ims_base_url: str | None,
) -> ImportOptions:
    """The options, with the content of the files that they name.

    Raises:
        CommandError: A file or a value is unusable.

    """
    from app.domain.errors import InvalidRequestError
    from app.domain.import_options import ImportOptions
    from app.domain.names import parse_org
    from app.process.regular_file import FileError, read_text

    def content(path: Path | None) -> str | None:
        return None if path is None else read_text(path, _MAX_PEM_BYTES)

    try:
        return ImportOptions(
            org=None if org is None else parse_org(org),
            client_id=client_id,
            private_key=content(private_key),
            passphrase=content(passphrase),
            certificate=content(certificate),
            ims_base_url=ims_base_url,
        )
    except InvalidRequestError as error:
        raise CommandError(f"--{error.detail}", USAGE) from None
    except FileError as error:
        raise CommandError(f"{error}.", USAGE) from None


def read_import(file: Path, name: CredentialName, options: ImportOptions) -> ImportInput:
    """The credential in a file.

    Raises:
        CommandError: The file cannot be read or used.

    """
    from app.domain.adobe_import import ImportFileError
    from app.domain.credential_document import MAX_DOCUMENT_BYTES
    from app.process.regular_file import FileError, read_bytes

    try:
        return parse_import(read_bytes(file, MAX_DOCUMENT_BYTES), name, options)
    except FileError as error:
        raise CommandError(f"{error}.", USAGE) from None
    except ImportFileError as error:
        raise CommandError(f"{file} {error}.", USAGE) from None


def parse_import(content: bytes, name: CredentialName, options: ImportOptions) -> ImportInput:
    """The credential in the bytes of a file.

    Raises:
        ImportFileError: The file cannot be used.

    """
    from app.domain.adobe_import import OWN, ImportFileError, drafts_of
    from app.domain.errors import InvalidRequestError
    from app.domain.import_options import document_of
    from app.domain.names import CredentialRef, parse_org
    from app.domain.strict_json import strict_json

    try:
        decoded = strict_json(content.removeprefix(_BYTE_ORDER_MARK))
    except ValueError as error:
        raise ImportFileError(f"is not a JSON file: {error}") from None
    drafts = drafts_of(decoded)
    document = document_of(drafts, options)
    try:
        ref = CredentialRef(parse_org(str(document["org_id"])), name)
    except InvalidRequestError:
        raise ImportFileError("has a defect in org_id: must be 24 letters or digits, then @AdobeOrg") from None
    source = drafts[0].source
    notes = () if len(drafts) == 1 else (f"The file has {len(drafts)} credentials; kind {document['kind']} was taken.",)
    return ImportInput(source, ref, document, source == OWN, notes)
