"""Whether mount, prefix and version in the settings fit what is in Vault; asked when nothing is found.

Vault answers 404 for a wrong version of KV and for a ``data/`` too many as it does for a missing document. Vault's own
command line asks the same question first, at a path that each token may read if it may read anything below the mount:
https://developer.hashicorp.com/vault/api-docs/system/internal-ui-mounts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial

from app.adapters.vault.kv_engine import KvEngine
from app.adapters.vault.session import VaultSession
from app.adapters.vault.vault_problem import VaultProblem, VaultProblemError
from app.adapters.vault.wire import VaultAdapter
from app.domain.dependency_errors import CredentialStoreError

LOOK_SECONDS = 60.0
"""How long an answer is believed; a mistake that was corrected in Vault is noticed without a restart."""

_log = logging.getLogger(__name__)


class KvLayout:
    """Finds settings that cannot be right. After the first document that is read, it has nothing to do.

    Args:
        session: Makes the calls.
        engine: The engine as the settings describe it.
        prefix: The folder below its mount.
        monotonic: A clock in seconds that never steps.

    """

    def __init__(self, session: VaultSession, engine: KvEngine, prefix: str, monotonic: Callable[[], float]) -> None:
        self._session = session
        self._engine = engine
        self._prefix = prefix
        self._monotonic = monotonic
        self._fits = False
        self._defect: str | None = None
        self._asked: float | None = None
        self._asking = asyncio.Lock()

    def confirm(self) -> None:
        """Note that a document was read, so that the settings are right."""
        self._fits = True

    async def check(self) -> None:
        """Say what is wrong with the settings, if anything is.

        Raises:
            CredentialStoreError: They cannot be right; the detail names the setting.

        """
        if self._fits:
            return
        async with self._asking:
            now = self._monotonic()
            if self._asked is None or now - self._asked >= LOOK_SECONDS:
                self._asked = now
                self._note(await self._ask())
        if self._defect is not None:
            raise CredentialStoreError(self._defect)

    def _note(self, defect: str | None) -> None:
        if defect is not None and defect != self._defect:
            _log.warning("No credential can be found: %s", defect)
        self._defect = defect

    async def _ask(self) -> str | None:
        try:
            return await self._session.call("mount", partial(layout_defect, self._engine, self._prefix))
        except CredentialStoreError:
            return None  # Vault does not say; the error of the call that found nothing stands.


def layout_defect(engine: KvEngine, prefix: str, adapter: VaultAdapter) -> str | None:
    """The sentence about the setting that is wrong, if one is."""
    answer = adapter.request("get", f"/v1/sys/internal/ui/mounts/{engine.mount}")
    data = answer.get("data")
    path, kind = (data.get("path"), data.get("type")) if isinstance(data, Mapping) else (None, None)
    if not isinstance(data, Mapping) or not isinstance(path, str):
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    if path.strip("/") != engine.mount:
        return (
            "BROKER_VAULT_MOUNT is longer than the mount; leave out `data` and folders (BROKER_VAULT_PREFIX has them)."
        )
    if kind not in {"kv", "generic"}:
        return "BROKER_VAULT_MOUNT is the mount of another secrets engine, not of KV."
    options = data.get("options")
    version = 2 if isinstance(options, Mapping) and str(options.get("version")) == "2" else 1
    if version != engine.version:
        return f"BROKER_VAULT_MOUNT is KV version {version}; set BROKER_VAULT_KV_VERSION={version}."
    if version == 2 and prefix.partition("/")[0] == "data" and _is_empty(engine, prefix, adapter):
        return (
            "BROKER_VAULT_PREFIX begins with `data`, where nothing is stored; leave `data` out, Vault adds it itself."
        )
    return None


def _is_empty(engine: KvEngine, prefix: str, adapter: VaultAdapter) -> bool:
    """Whether nothing is stored below the prefix; False if the policy forbids to look."""
    try:
        return not engine.list(prefix, adapter)
    except VaultProblemError as error:
        if error.problem is not VaultProblem.POLICY:
            raise
        return False
