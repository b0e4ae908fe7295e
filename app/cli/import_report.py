"""The report of a bulk import: one JSON line per input, on disk before the next one, from which a run resumes."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from app.cli.failure import USAGE, CommandError
from app.domain.errors import InvalidRequestError
from app.domain.names import CredentialRef, parse_credential_name, parse_org

if TYPE_CHECKING:
    from app.lifecycle.import_many import ItemResult

_DONE = frozenset({"created", "replaced", "unchanged"})


class ImportReport:
    """An open report, which only this process writes.

    Args:
        path: The file.
        stream: The file, opened for reading and appending.

    """

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self.path = path
        self._stream = stream
        self._writing = asyncio.Lock()
        self._done = dict(_done_in(stream))

    def imported(self, item: str, digest: str) -> CredentialRef | None:
        """The credential that an earlier run imported from this input; None if it did not, or the input has changed."""
        done = self._done.get(item)
        return None if done is None or done[0] != digest else done[1]

    async def record(self, result: ItemResult) -> None:
        """Append a result, and wait until it is on disk."""
        ref = result.ref
        line = {
            "item": result.item,
            "input_sha256": result.digest,
            "org": None if ref is None else ref.org,
            "credential": None if ref is None else ref.name,
            "outcome": result.outcome.value,
            "version": result.version,
            "code": result.code,
            "error": result.error,
        }
        async with self._writing:
            await asyncio.to_thread(self._append, json.dumps(line).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        self._stream.write(line)
        self._stream.flush()
        os.fsync(self._stream.fileno())


@contextmanager
def open_report(path: Path) -> Iterator[ImportReport]:
    """The report in `path`, for the length of a run; a new one if there is none.

    Raises:
        CommandError: It cannot be used, is not a report, or another run uses it.

    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise CommandError(f"{path} cannot be used as a report: {reason}.", USAGE) from None
    with open(descriptor, "r+b") as stream:  # noqa: PTH123  # a descriptor has no path to open
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError(f"{path} is in use by another import.", USAGE) from None
        _drop_partial_line(stream)
        try:
            report = ImportReport(path, stream)
        except ValueError:
            raise CommandError(f"{path} is not a report of an import; name another file.", USAGE) from None
        yield report


def _drop_partial_line(stream: IO[bytes]) -> None:
    """Remove what a killed run began to write."""
    content = stream.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content) and content[whole:].startswith(b'{"item"'[: len(content) - whole]):
        stream.truncate(whole)
    stream.seek(0)


def _done_in(stream: IO[bytes]) -> Iterator[tuple[str, tuple[str, CredentialRef] | None]]:
    """The last state of each input: its digest and its credential if it was imported, None if it was not.

    Raises:
        ValueError: A line is not one of a report.

    """
    for line in stream:
        try:
            entry = json.loads(line)
            yield str(entry["item"]), _imported_by(entry) if entry["outcome"] in _DONE else None
        except (TypeError, KeyError, InvalidRequestError) as error:
            raise ValueError from error


def _imported_by(entry: dict[str, object]) -> tuple[str, CredentialRef]:
    ref = CredentialRef(parse_org(str(entry["org"])), parse_credential_name(str(entry["credential"])))
    return str(entry["input_sha256"]), ref
