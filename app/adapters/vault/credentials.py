"""Tenants' credentials in a KV v2 secrets engine: ``<mount>/data/<prefix>/<org>/<credential>``."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from functools import partial

from hvac.api.secrets_engines import KvV2

from app.adapters.vault.session import VaultSession
from app.adapters.vault.vault_problem import VaultProblem, VaultProblemError
from app.adapters.vault.wire import VaultAdapter
from app.domain.credential import Credential
from app.domain.credential_document import MAX_DOCUMENT_BYTES, parse_credential
from app.domain.errors import InvalidRequestError
from app.domain.names import CredentialRef, OrgId, parse_credential_name, parse_org
from app.domain.tenant_errors import CredentialMisconfiguredError, CredentialNotFoundError

_LISTINGS_AT_ONCE = 2
"""Fewer than the threads of the session, so that listing never delays a read."""


class VaultCredentialStore:
    """The `CredentialStore` whose documents are in Vault. The generation of a document is its version in Vault.

    Args:
        session: Logs in and makes the calls.
        mount: Where the KV v2 engine is mounted.
        prefix: The folder below it, without slashes at its ends; may be empty.
        allowed_base_urls: The allow-list of IMS hosts, each as `normal_ims_base_url` gives it.

    """

    def __init__(self, session: VaultSession, mount: str, prefix: str, allowed_base_urls: frozenset[str]) -> None:
        self._session = session
        self._mount = mount.strip("/")
        self._prefix = prefix.strip("/")
        self._allowed_base_urls = allowed_base_urls

    async def fetch(self, ref: CredentialRef) -> Credential:
        """Read the current version of a credential.

        Raises:
            CredentialNotFoundError: Nothing is stored there, or its newest version was deleted or destroyed.
            CredentialMisconfiguredError: The document is defective.
            CredentialStoreError: Vault is unusable, or its policy denies the broker this path.

        """
        work = partial(_read, self._mount, self._path(ref.org, ref.name))
        meaning = {VaultProblem.ABSENT: CredentialNotFoundError}
        document, generation = await self._session.call("read", work, meaning)
        return parse_credential(document, ref, generation, self._allowed_base_urls)

    async def refs(self) -> tuple[CredentialRef, ...]:
        """All credentials that have a path, sorted; including those whose last version was deleted.

        Raises:
            CredentialStoreError: Vault is unusable, or its policy denies the broker to list.

        """
        orgs: list[OrgId] = []
        for name in await self._names(self._prefix):
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

    async def _refs_of(self, org: OrgId, gate: asyncio.Semaphore) -> list[CredentialRef]:
        async with gate:
            names = await self._names(self._path(org))
        found = []
        for name in names:
            with contextlib.suppress(InvalidRequestError):
                found.append(CredentialRef(org, parse_credential_name(name)))
        return found

    async def _names(self, path: str) -> list[str]:
        return await self._session.call("list", partial(_list, self._mount, path))

    def _path(self, *parts: str) -> str:
        return "/".join((self._prefix, *parts)).lstrip("/")


def _read(mount: str, path: str, adapter: VaultAdapter) -> tuple[object, str]:
    """The document and its generation."""
    answer = KvV2(adapter).read_secret_version(path, mount_point=mount, raise_on_deleted_version=True)
    data = answer.get("data")
    metadata = data.get("metadata") if isinstance(data, Mapping) else None
    version = metadata.get("version") if isinstance(metadata, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(version, int):
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    document = data.get("data")
    if document is None:
        raise VaultProblemError(VaultProblem.ABSENT)
    if len(json.dumps(document, ensure_ascii=False).encode(errors="replace")) > MAX_DOCUMENT_BYTES:
        raise CredentialMisconfiguredError("document", f"must be at most {MAX_DOCUMENT_BYTES} bytes")
    return document, str(version)


def _list(mount: str, path: str, adapter: VaultAdapter) -> list[str]:
    try:
        answer = KvV2(adapter).list_secrets(path, mount_point=mount)
    except VaultProblemError as error:
        if error.problem is not VaultProblem.ABSENT:
            raise
        return []
    data = answer.get("data")
    keys = data.get("keys") if isinstance(data, Mapping) else None
    if not isinstance(keys, list):
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    return [key for key in keys if isinstance(key, str)]
