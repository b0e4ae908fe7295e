"""Moves private keys into Vault's transit engine, and reads their public halves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from app.adapters.vault.key_wrapping import MovingKey, moving_key, public_der, rsa_public_key, wrapped
from app.adapters.vault.session import VaultSession
from app.adapters.vault.transit import key_and_version
from app.adapters.vault.vault_problem import Meaning, VaultProblem, VaultProblemError
from app.adapters.vault.wire import VaultAdapter
from app.domain.dependency_errors import CredentialStoreError
from app.domain.tenant_errors import CredentialMisconfiguredError


def _absent() -> CredentialMisconfiguredError:
    return CredentialMisconfiguredError("transit_key", "must name a key, or a version of it, that Vault's transit has")


def _denied() -> CredentialStoreError:
    return CredentialStoreError(
        "The Vault policy does not allow this login to import or read transit keys; docs/least-privilege.md has the"
        " lines that commands need."
    )


_FIRST_IMPORT = 60.0
"""Seconds for an import: the first one lets Vault make its wrapping key, RSA with 4096 bits, which can take 10 s."""

_MEANING: Meaning = {VaultProblem.ABSENT: _absent, VaultProblem.POLICY: _denied}


class VaultTransitKeys:
    """The `RemoteKeys` of Vault's transit engine.

    Args:
        session: Logs in and makes the calls.
        transit_mount: Where the transit engine is mounted.

    """

    def __init__(self, session: VaultSession, transit_mount: str) -> None:
        self._session = session
        self._base = f"/v1/{transit_mount.strip('/')}"

    async def import_key(self, name: str, private_key_pem: str, passphrase: str | None = None) -> None:
        """As `RemoteKeys.import_key`. Vault can neither export the key nor rotate it by itself."""
        key, version = key_and_version(name)
        if version is not None:
            raise CredentialMisconfiguredError("transit_key", "must not name a version of a key that is imported")
        work = partial(_import, self._base, key, private_key_pem, passphrase)
        await self._session.call("import key", work, _MEANING, deadline=_FIRST_IMPORT)

    async def public_key(self, name: str) -> bytes:
        """As `RemoteKeys.public_key`: of the version that `name` has, or else of the latest."""
        return await self._session.call("read key", partial(_public_key, self._base, name), _MEANING)


def _import(base: str, name: str, pem: str, passphrase: str | None, adapter: VaultAdapter) -> None:
    key = moving_key(pem, passphrase)
    wrapping_key = _data(adapter.get(f"{base}/wrapping_key", timeout=_FIRST_IMPORT)).get("public_key")
    body = {"type": key.kind, "hash_function": "SHA256", "ciphertext": wrapped(key, wrapping_key)}
    try:
        adapter.post(f"{base}/keys/{name}/import", json=body)
    except VaultProblemError as error:
        # 400 also means that there is a key of that name; perhaps an attempt whose answer was lost has put it there.
        if error.problem is not VaultProblem.INVALID or not _has(base, name, key, adapter):
            raise


def _has(base: str, name: str, key: MovingKey, adapter: VaultAdapter) -> bool:
    """Whether the key that is stored as `name` is `key`; False if there is none.

    Raises:
        CredentialMisconfiguredError: It is another key.

    """
    try:
        stored = _public_key(base, name, adapter)
    except VaultProblemError as error:
        if error.problem is VaultProblem.ABSENT:
            return False
        raise
    if stored != key.public_key:
        raise CredentialMisconfiguredError("transit_key", "is the name of another key in Vault; choose a new name")
    return True


def _public_key(base: str, name: str, adapter: VaultAdapter) -> bytes:
    key, version = key_and_version(name)
    data = _data(adapter.get(f"{base}/keys/{key}"))
    kind, versions = data.get("type"), data.get("keys")
    if not isinstance(kind, str) or not isinstance(versions, Mapping):
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    if not kind.startswith("rsa-"):
        raise CredentialMisconfiguredError("transit_key", f"names a key of type {kind[:32]}, and must name an RSA key")
    found = versions.get(str(data.get("latest_version") if version is None else version))
    if found is None:
        raise VaultProblemError(VaultProblem.ABSENT)
    return public_der(rsa_public_key(found.get("public_key") if isinstance(found, Mapping) else None))


def _data(answer: object) -> Mapping[str, object]:
    data = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(data, Mapping):
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    return data
