"""Tenants' credentials as files, ``<directory>/<org>/<credential>.json``: the embedded mode, and mounted Secrets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from app.adapters.directory.one_file import parse_document, read_document, version_of
from app.domain.app_document import APP_IS_MISSING, AppName, StoredApp, app_of, app_path, of_app, stored_app
from app.domain.credential import Credential
from app.domain.credential_document import parse_credential
from app.domain.dependency_errors import CredentialStoreError
from app.domain.errors import InvalidRequestError
from app.domain.names import CredentialRef, OrgId, parse_credential_name, parse_org
from app.domain.stored_document import DocumentPath, credential_path
from app.domain.tenant_errors import CredentialMisconfiguredError, CredentialNotFoundError
from app.process.own_threads import OwnThreads, ThreadsBusyError, ThreadsClosedError
from app.process.recent_reads import RecentReads

T = TypeVar("T")

_THREADS = 2
_WAITING = 2_000
"""Reads that may wait for a thread; one more fails at once."""

_DEADLINE = 4.0
"""Seconds. Files are local as a rule, but a network volume can hang."""


class DirectoryCredentialStore:
    """The `CredentialStore` whose documents are files. A document's generation is a digest of its bytes.

    Files are read in threads of its own, so that a volume that hangs blocks nothing else. Symbolic links are followed:
    Kubernetes mounts Secrets and ConfigMaps as links.

    Args:
        directory: The folder that holds one folder per org.
        allowed_base_urls: The allow-list of IMS hosts, each as `normal_ims_base_url` gives it.

    """

    def __init__(self, directory: Path, allowed_base_urls: frozenset[str]) -> None:
        self._directory = directory
        self._allowed_base_urls = allowed_base_urls
        self._threads = OwnThreads("credential-files", threads=_THREADS, waiting=_WAITING, deadline=_DEADLINE)
        self._apps = RecentReads(self._app)

    async def fetch(self, ref: CredentialRef, *, recent_app: bool = False) -> Credential:
        """As `CredentialStore.fetch`.

        Raises:
            CredentialNotFoundError: There is no such file.
            CredentialMisconfiguredError: The document is defective, or that of its app.
            CredentialStoreError: The directory or the file cannot be read.

        """
        document, generation = await self._run(partial(_read, self._directory, credential_path(ref)))
        name = app_of(document)
        app = None if name is None else await self._apps.get(name, recent=recent_app)
        return parse_credential(document, ref, generation, self._allowed_base_urls, app)

    async def refs(self) -> tuple[CredentialRef, ...]:
        """All credentials that have a file, sorted; anything else in the directory is ignored.

        Raises:
            CredentialStoreError: The directory cannot be read.

        """
        return await self._run(partial(_list, self._directory))

    async def aclose(self) -> None:
        """Let the threads end."""
        self._threads.close()

    async def _app(self, name: AppName) -> StoredApp:
        try:
            document, version = await self._run(partial(_read, self._directory, app_path(name)))
            return stored_app(name, document, version)
        except CredentialNotFoundError:
            raise CredentialMisconfiguredError("app", APP_IS_MISSING) from None
        except CredentialMisconfiguredError as error:
            raise of_app(error) from None

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await self._threads.run(work)
        except ThreadsBusyError:
            raise CredentialStoreError("Too many reads of the credential directory are waiting already.") from None
        except ThreadsClosedError:
            raise CredentialStoreError("The credential directory is closed.") from None
        except TimeoutError:
            raise CredentialStoreError("The credential directory does not answer in time.") from None


def _read(directory: Path, path: DocumentPath) -> tuple[object, str]:
    """The document at `path` and its version."""
    content = read_document(directory, directory.joinpath(*path.parts[:-1], f"{path.parts[-1]}.json"))
    return parse_document(content), version_of(content)


def _list(directory: Path) -> tuple[CredentialRef, ...]:
    try:
        return tuple(sorted(_refs(directory)))
    except OSError:
        raise CredentialStoreError("The credential directory cannot be read; check BROKER_CREDENTIAL_DIR.") from None


def _refs(directory: Path) -> Iterator[CredentialRef]:
    for folder in directory.iterdir():
        with contextlib.suppress(InvalidRequestError):
            org = parse_org(folder.name)
            if folder.is_dir():
                yield from _refs_of(folder, org)


def _refs_of(folder: Path, org: OrgId) -> Iterator[CredentialRef]:
    for file in folder.iterdir():
        if file.suffix == ".json" and file.is_file():
            with contextlib.suppress(InvalidRequestError):
                yield CredentialRef(org, parse_credential_name(file.stem))
