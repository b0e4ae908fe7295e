"""Tenants' credentials in a KV secrets engine, at ``<prefix>/<org>/<credential>`` below its mount."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial

from app.adapters.vault.kv_engine import KvEngine
from app.adapters.vault.kv_layout import KvLayout
from app.adapters.vault.session import VaultSession
from app.adapters.vault.vault_problem import Meaning, VaultProblem
from app.domain.app_document import APP_IS_MISSING, AppName, StoredApp, app_of, app_path, of_app, stored_app
from app.domain.credential import Credential
from app.domain.credential_document import parse_credential
from app.domain.dependency_errors import CredentialStoreError
from app.domain.errors import InvalidRequestError
from app.domain.names import CredentialRef, OrgId, parse_credential_name, parse_org
from app.domain.tenant_errors import CredentialMisconfiguredError, CredentialNotFoundError
from app.process.recent_reads import RecentReads

_LISTINGS_AT_ONCE = 2
"""Fewer than the threads of the session, so that listing never delays a read."""


class _PathRefusedError(CredentialStoreError):
    """Vault refuses a path, perhaps because mount, prefix or version in the settings are wrong."""

    def __init__(self, problem: VaultProblem) -> None:
        super().__init__(problem.value)


def _refuses_path(problem: VaultProblem) -> Meaning:
    return {problem: partial(_PathRefusedError, problem)}


_READ: Meaning = {
    VaultProblem.ABSENT: CredentialNotFoundError,
    **_refuses_path(VaultProblem.POLICY),
    **_refuses_path(VaultProblem.VERSION_2),
}
# Version 2 has no listing below ``data/``, and answers 405.
_LIST: Meaning = {**_refuses_path(VaultProblem.POLICY), **_refuses_path(VaultProblem.UNEXPECTED_RESPONSE)}


class _AppDeniedError(CredentialStoreError):
    """Vault's policy denies the document of an app, although it allows that of an org."""

    def __init__(self) -> None:
        super().__init__("Vault's policy does not let the broker read below `_apps`, where the document of the app is.")


_READ_APP: Meaning = {VaultProblem.ABSENT: CredentialNotFoundError, VaultProblem.POLICY: _AppDeniedError}


class VaultCredentialStore:
    """The `CredentialStore` whose documents are in Vault.

    The generation of a document is its version in Vault; with KV version 1, which has no versions, a digest of it.

    Args:
        session: Logs in and makes the calls.
        mount: Where the KV engine is mounted.
        prefix: The folder below it, without slashes at its ends; may be empty.
        allowed_base_urls: The allow-list of IMS hosts, each as `normal_ims_base_url` gives it.
        kv_version: The version of the KV engine, 1 or 2.
        monotonic: A clock in seconds that never steps.

    """

    def __init__(
        self,
        session: VaultSession,
        mount: str,
        prefix: str,
        allowed_base_urls: frozenset[str],
        kv_version: int = 2,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._engine = KvEngine(mount.strip("/"), kv_version)
        self._prefix = prefix.strip("/")
        self._allowed_base_urls = allowed_base_urls
        self._layout = KvLayout(session, self._engine, self._prefix, monotonic)
        self._apps = RecentReads(self._app, monotonic=monotonic)

    async def fetch(self, ref: CredentialRef, *, recent_app: bool = False) -> Credential:
        """As `CredentialStore.fetch`.

        Raises:
            CredentialNotFoundError: Nothing is stored there, or its newest version was deleted or destroyed.
            CredentialMisconfiguredError: The document is defective, or that of its app.
            CredentialStoreError: Vault is unusable, its policy denies the broker this path, or no credential can be
                found with these settings.

        """
        work = partial(self._engine.read, self._path(ref.org, ref.name))
        try:
            document, generation = await self._session.call("read", work, _READ)
        except (CredentialNotFoundError, _PathRefusedError):
            await self._layout.check()
            raise
        self._layout.confirm()
        name = app_of(document)
        app = None if name is None else await self._apps.get(name, recent=recent_app)
        return parse_credential(document, ref, generation, self._allowed_base_urls, app)

    async def refs(self) -> tuple[CredentialRef, ...]:
        """All credentials that have a path, sorted; including those whose last version was deleted.

        Raises:
            CredentialStoreError: Vault is unusable, its policy denies the broker to list, or no credential can be found
                with these settings.

        """
        orgs: list[OrgId] = []
        for name in await self._top_names():
            with contextlib.suppress(InvalidRequestError):
                orgs.append(parse_org(name.removesuffix("/")))
        gate = asyncio.Semaphore(_LISTINGS_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                listings = [group.create_task(self._refs_of(org, gate)) for org in set(orgs)]
        except ExceptionGroup as failed:
            # The first failure stopped the others. Callers of the port do not expect exception groups.
            raise failed.exceptions[0] from None
        return tuple(sorted(ref for listing in listings for ref in listing.result()))

    async def _app(self, name: AppName) -> StoredApp:
        work = partial(self._engine.read, self._path(*app_path(name).parts))
        try:
            document, version = await self._session.call("read", work, _READ_APP)
            return stored_app(name, document, version)
        except CredentialNotFoundError:
            raise CredentialMisconfiguredError("app", APP_IS_MISSING) from None
        except CredentialMisconfiguredError as error:
            raise of_app(error) from None

    async def _refs_of(self, org: OrgId, gate: asyncio.Semaphore) -> list[CredentialRef]:
        async with gate:
            names = await self._names(self._path(org))
        found = []
        for name in names:
            with contextlib.suppress(InvalidRequestError):
                found.append(CredentialRef(org, parse_credential_name(name)))
        return found

    async def _top_names(self) -> list[str]:
        try:
            names = await self._names(self._prefix)
        except _PathRefusedError:
            await self._layout.check()
            raise
        if not names:
            await self._layout.check()
        return names

    async def _names(self, path: str) -> list[str]:
        return await self._session.call("list", partial(self._engine.list, path), _LIST)

    def _path(self, *parts: str) -> str:
        return "/".join((self._prefix, *parts)).lstrip("/")
