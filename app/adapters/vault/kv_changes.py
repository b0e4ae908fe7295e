"""Changes documents in a KV secrets engine, version 1 or 2. All functions block, and run in a thread.

Version 2 checks the version of a document and writes it in one step (``cas``):
https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#create-update-secret. Version 1 cannot, and neither can
remove: there the version is compared just before.
"""

from __future__ import annotations

from collections.abc import Mapping

from hvac.api.secrets_engines import KvV1, KvV2

from app.adapters.vault.kv_engine import KvEngine
from app.adapters.vault.vault_problem import VaultProblem, VaultProblemError
from app.adapters.vault.wire import VaultAdapter
from app.domain.stored_document import Version


def write(
    engine: KvEngine, path: str, content: Mapping[str, object], expected: Version | None, adapter: VaultAdapter
) -> Version:
    """Write `content` at `path` if its version there is `expected`; the new version.

    Raises:
        VaultProblemError: It is another version (`VaultProblem.CHANGED`), or Vault cannot be used.

    """
    if engine.version == 2:
        return _write_2(engine, path, content, expected, adapter)
    _compare(engine, path, expected, adapter)
    KvV1(adapter).create_or_update_secret(path, dict(content), method="PUT", mount_point=engine.mount)
    _, generation = engine.read(path, adapter)
    return Version(generation)


def remove(engine: KvEngine, path: str, expected: Version, destroy: bool, adapter: VaultAdapter) -> None:
    """Remove what is at `path` if its version is `expected`. Version 2 keeps the versions unless told to destroy them.

    Raises:
        VaultProblemError: As `write`.

    """
    _compare(engine, path, expected, adapter)
    if engine.version == 1:
        KvV1(adapter).delete_secret(path, mount_point=engine.mount)
    elif destroy:
        KvV2(adapter).delete_metadata_and_all_versions(path, mount_point=engine.mount)
    else:
        KvV2(adapter).delete_latest_version_of_secret(path, mount_point=engine.mount)


def _write_2(
    engine: KvEngine, path: str, content: Mapping[str, object], expected: Version | None, adapter: VaultAdapter
) -> Version:
    try:
        return _check_and_set(engine, path, content, int(expected or 0), adapter)
    except VaultProblemError as error:
        if expected is not None or error.problem is not VaultProblem.CHANGED:
            raise
    # What was removed keeps its number: the next version is written over it.
    return _check_and_set(engine, path, content, _removed_version(engine, path, adapter), adapter)


def _check_and_set(
    engine: KvEngine, path: str, content: Mapping[str, object], version: int, adapter: VaultAdapter
) -> Version:
    answer = KvV2(adapter).create_or_update_secret(path, dict(content), cas=version, mount_point=engine.mount)
    data = answer.get("data")
    written = data.get("version") if isinstance(data, Mapping) else None
    if not isinstance(written, int):
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    return Version(str(written))


def _removed_version(engine: KvEngine, path: str, adapter: VaultAdapter) -> int:
    """The number of the newest version, if that was removed."""
    data = KvV2(adapter).read_secret_metadata(path, mount_point=engine.mount).get("data")
    versions, newest = (data.get("versions"), data.get("current_version")) if isinstance(data, Mapping) else (None, 0)
    state = versions.get(str(newest)) if isinstance(versions, Mapping) else None
    if not isinstance(state, Mapping) or not isinstance(newest, int):
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    if not (state.get("deletion_time") or state.get("destroyed")):
        raise VaultProblemError(VaultProblem.CHANGED)
    return newest


def _compare(engine: KvEngine, path: str, expected: Version | None, adapter: VaultAdapter) -> None:
    try:
        _, generation = engine.read(path, adapter)
    except VaultProblemError as error:
        if error.problem is not VaultProblem.ABSENT:
            raise
        generation = None
    if generation != expected:
        raise VaultProblemError(VaultProblem.CHANGED)
