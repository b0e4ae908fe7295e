"""What ``org import`` reads: Adobe's file, and the files that complete it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.failure import USAGE, CommandError

if TYPE_CHECKING:
    from app.domain.import_file import ImportInput
    from app.domain.import_options import ImportOptions
    from app.domain.names import CredentialName

MAX_PEM_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ImportMode:
    """How an import is done.

    Args:
        dry_run: Whether nothing is written.
        yes: Whether a different credential is replaced without asking.
        as_json: Whether the answer is JSON.

    """

    dry_run: bool
    yes: bool
    as_json: bool


def read_options(
    org: str | None,
    client_id: str | None,
    private_key: Path | None,
    passphrase: Path | None,
    certificate: Path | None,
    ims_base_url: str | None,
    transit_key: str | None = None,
    app: str | None = None,
) -> ImportOptions:
    """The options, with the content of the files that they name.

    Raises:
        CommandError: A file or a value is unusable.

    """
    from app.domain.app_document import app_of
    from app.domain.errors import InvalidRequestError
    from app.domain.import_options import ImportOptions
    from app.domain.names import parse_org
    from app.domain.tenant_errors import CredentialMisconfiguredError
    from app.process.regular_file import FileError, read_text

    def content(path: Path | None) -> str | None:
        return None if path is None else read_text(path, MAX_PEM_BYTES)

    try:
        return ImportOptions(
            org=None if org is None else parse_org(org),
            client_id=client_id,
            private_key=content(private_key),
            passphrase=content(passphrase),
            certificate=content(certificate),
            transit_key=transit_key,
            app=app_of({"app": app}),
            ims_base_url=ims_base_url,
        )
    except InvalidRequestError as error:
        raise CommandError(f"--{error.detail}", USAGE) from None
    except CredentialMisconfiguredError as error:
        raise CommandError(f"--{error.field} {error.expected}.", USAGE) from None
    except FileError as error:
        raise CommandError(f"{error}.", USAGE) from None


def read_import(file: Path, name: CredentialName, options: ImportOptions) -> ImportInput:
    """The credential in a file.

    Raises:
        CommandError: The file cannot be read or used.

    """
    from app.domain.adobe_import import ImportFileError
    from app.domain.credential_document import MAX_DOCUMENT_BYTES
    from app.domain.import_file import parse_import
    from app.process.regular_file import FileError, read_bytes

    try:
        return parse_import(read_bytes(file, MAX_DOCUMENT_BYTES), name, options)
    except FileError as error:
        raise CommandError(f"{error}.", USAGE) from None
    except ImportFileError as error:
        raise CommandError(f"{file} {error}.", USAGE) from None
