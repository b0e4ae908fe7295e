"""The documents of the directory store, for commands that change them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from app.adapters.directory.one_file import parse_document, read_document, version_of
from app.domain.dependency_errors import CredentialStoreError
from app.domain.stored_document import DocumentChangedError, DocumentPath, StoredDocument, Version
from app.domain.tenant_errors import CredentialMisconfiguredError, CredentialNotFoundError
from app.process.own_threads import OwnThreads

T = TypeVar("T")

_DEADLINE = 10.0
"""Seconds; a network volume can hang."""

_LOCK_SECONDS = 5.0
"""Less than the deadline: a change that was given up is never made later."""

_LOCK_PAUSE = 0.02

_FOLDER_MODE = 0o700

_NEW_MODE = 0o600
"""The mode of a new file. A file that is replaced keeps its mode and, where the process may set it, its owner."""


class DirectoryDocuments:
    """The `DocumentStore` of files. One command at a time changes a folder: a lock of the operating system is held.

    A file is replaced in one step, so that the broker reads the old document or the new one.

    Args:
        directory: The folder that holds one folder per org.
        lock_seconds: The longest wait for another command that changes the same folder.

    """

    def __init__(self, directory: Path, lock_seconds: float = _LOCK_SECONDS) -> None:
        self._directory = directory
        self._lock_seconds = lock_seconds
        self._threads = OwnThreads("credential-documents", threads=2, waiting=1_000, deadline=_DEADLINE)

    async def read(self, path: DocumentPath) -> StoredDocument | None:
        """As `DocumentStore.read`."""
        return await self._run(partial(self._read, path))

    async def write(self, path: DocumentPath, content: Mapping[str, object], expected: Version | None) -> Version:
        """As `DocumentStore.write`."""
        return await self._run(partial(self._write, path, content, expected))

    async def remove(self, path: DocumentPath, expected: Version, *, destroy: bool = False) -> None:  # noqa: ARG002
        """As `DocumentStore.remove`. There are no older versions: a removal cannot be undone."""
        await self._run(partial(self._remove, path, expected))

    async def aclose(self) -> None:
        """Let the threads end."""
        self._threads.close()

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await self._threads.run(work)
        except TimeoutError:
            raise CredentialStoreError("The credential directory does not answer in time.") from None
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise CredentialStoreError(f"The credential directory cannot be changed: {reason}.") from None

    def _file(self, path: DocumentPath) -> Path:
        return self._directory.joinpath(*path.parts[:-1], f"{path.parts[-1]}.json")

    def _read(self, path: DocumentPath) -> StoredDocument | None:
        try:
            content = read_document(self._directory, self._file(path))
        except CredentialNotFoundError:
            return None
        document = parse_document(content)
        if not isinstance(document, Mapping):
            raise CredentialMisconfiguredError("document", "must be a JSON object")
        return StoredDocument(document, Version(version_of(content)))

    def _write(self, path: DocumentPath, content: Mapping[str, object], expected: Version | None) -> Version:
        file = self._file(path)
        if not self._directory.is_dir():
            raise CredentialStoreError("The credential directory does not exist; check BROKER_CREDENTIAL_DIR.")
        self._make_folders(path)
        text = json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"
        with _locked(file.parent, self._lock_seconds):
            self._compare(path, expected)
            _replace(file, text)
        return Version(version_of(text))

    def _make_folders(self, path: DocumentPath) -> None:
        """Make the folders of a file, one by one: `Path.mkdir` gives its mode to the last one only."""
        folder = self._directory
        for part in path.parts[:-1]:
            folder /= part
            folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)

    def _remove(self, path: DocumentPath, expected: Version) -> None:
        file = self._file(path)
        if not file.parent.is_dir():
            raise DocumentChangedError
        with _locked(file.parent, self._lock_seconds):
            self._compare(path, expected)
            file.unlink()
        # The folder of an org without credentials goes, too; another credential keeps it.
        with contextlib.suppress(OSError):
            file.parent.rmdir()

    def _compare(self, path: DocumentPath, expected: Version | None) -> None:
        """Refuse a change if the file is not in the version that the change was made for.

        Only the bytes are compared: a defective document can be replaced, too.
        """
        file = self._file(path)
        if file.is_symlink():
            raise CredentialStoreError(
                "The file is a symbolic link, as in a mounted Secret; change its source, not the mount."
            )
        try:
            found = Version(version_of(read_document(self._directory, file)))
        except CredentialNotFoundError:
            found = None
        if found != expected:
            raise DocumentChangedError


@contextlib.contextmanager
def _locked(folder: Path, seconds: float) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, time.monotonic() + seconds)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, end: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise CredentialStoreError(
                    "Another command is changing this org in the credential directory. Nothing was written; try again"
                    " when it has ended."
                ) from None
            time.sleep(_LOCK_PAUSE)
        else:
            return


def _replace(file: Path, text: bytes) -> None:
    """Replace `file` in one step. After a crash of the machine it has the old content or the new one."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".new", dir=file.parent)
    temporary = Path(name)
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123  # a descriptor has no path to open
            stream.write(text)
            _keep_rights(file, descriptor)
            stream.flush()
            os.fsync(descriptor)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keep_rights(file: Path, descriptor: int) -> None:
    try:
        before = file.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, _NEW_MODE)
        return
    with contextlib.suppress(PermissionError):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, before.st_mode & 0o777)
