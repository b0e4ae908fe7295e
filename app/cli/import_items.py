"""The inputs of a bulk import: the files of a folder, or the lines of a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.failure import USAGE, CommandError
from app.cli.import_input import MAX_PEM_BYTES

if TYPE_CHECKING:
    from app.domain.import_file import ImportInput
    from app.domain.import_options import ImportOptions
    from app.domain.names import CredentialName
    from app.lifecycle.import_many import ImportItem

LINES = ".jsonl"
"""How the name of a file ends that has one credential per line."""


def is_bulk(file: Path) -> bool:
    """Whether `file` has many credentials."""
    return file.suffix == LINES or file.is_dir()


def count_items(file: Path) -> int:
    """How many inputs `file` has.

    Raises:
        CommandError: It cannot be read.

    """
    try:
        if file.is_dir():
            return len(_files(file))
        with file.open("rb") as lines:
            return sum(1 for line in lines if line.strip())
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {(error.strerror or 'unknown reason').lower()}.", USAGE) from None


def import_items(file: Path, name: CredentialName, options: ImportOptions) -> Iterator[ImportItem]:
    """The inputs of `file`, in the same order in each run. One that cannot be read says so when it is parsed."""
    return _items_of_folder(file, name, options) if file.is_dir() else _items_of_lines(file, name, options)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))


def _items_of_folder(folder: Path, name: CredentialName, options: ImportOptions) -> Iterator[ImportItem]:
    from app.domain.credential_document import MAX_DOCUMENT_BYTES
    from app.process.regular_file import FileError, read_bytes

    for path in _files(folder):
        try:
            given = replace(
                options,
                private_key=_neighbour(path, ".key"),
                passphrase=_neighbour(path, ".passphrase"),
                certificate=_neighbour(path, ".crt"),
            )
            content = read_bytes(path, MAX_DOCUMENT_BYTES)
        except FileError as error:
            yield _unreadable(path.name, error.reason)
        else:
            yield _item(path.name, content, name, given)


def _neighbour(path: Path, ending: str) -> str | None:
    """The text of the file that has the same name and another ending; None if there is none."""
    from app.process.regular_file import read_text

    neighbour = path.with_suffix(ending)
    return read_text(neighbour, MAX_PEM_BYTES) if neighbour.exists() else None


def _items_of_lines(file: Path, name: CredentialName, options: ImportOptions) -> Iterator[ImportItem]:
    from app.domain.credential_document import MAX_DOCUMENT_BYTES

    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            item = f"{file.name}:{number}"
            if len(line) > MAX_DOCUMENT_BYTES:
                yield _unreadable(item, f"is longer than {MAX_DOCUMENT_BYTES} bytes")
            elif line.strip():
                yield _item(item, line.strip(), name, options)


def _item(item: str, content: bytes, name: CredentialName, options: ImportOptions) -> ImportItem:
    from app.domain.import_file import input_digest, parse_import
    from app.lifecycle.import_many import ImportItem

    return ImportItem(item, input_digest(content, name, options), partial(parse_import, content, name, options))


def _unreadable(item: str, reason: str) -> ImportItem:
    from app.domain.adobe_import import ImportFileError
    from app.lifecycle.import_many import ImportItem

    def read() -> ImportInput:
        raise ImportFileError(reason)

    return ImportItem(item, "", read)
