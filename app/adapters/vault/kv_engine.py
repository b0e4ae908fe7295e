"""Reads and lists documents in a KV secrets engine, version 1 or 2. All functions block, and run in a thread."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from hvac.api.secrets_engines import KvV1, KvV2

from app.adapters.vault.vault_problem import VaultProblem, VaultProblemError
from app.adapters.vault.wire import VaultAdapter
from app.domain.credential_document import MAX_DOCUMENT_BYTES
from app.domain.tenant_errors import CredentialMisconfiguredError

_GENERATION_DIGITS = 12


@dataclass(frozen=True, slots=True)
class KvEngine:
    """A KV secrets engine.

    Args:
        mount: Where it is mounted, without slashes at the ends.
        version: 1 or 2. Version 2 keeps the versions of each document, below ``data/`` and ``metadata/``.

    """

    mount: str
    version: int

    def read(self, path: str, adapter: VaultAdapter) -> tuple[object, str]:
        """The document at `path` and its generation: its version in Vault, or with version 1 a digest of it.

        Raises:
            VaultProblemError: Nothing is there, or Vault cannot be used.
            CredentialMisconfiguredError: The document is too large.

        """
        document, generation = (self._read_2 if self.version == 2 else self._read_1)(path, adapter)
        if document is None:
            raise VaultProblemError(VaultProblem.ABSENT)
        text = json.dumps(document, ensure_ascii=False, sort_keys=True).encode(errors="replace")
        if len(text) > MAX_DOCUMENT_BYTES:
            raise CredentialMisconfiguredError("document", f"must be at most {MAX_DOCUMENT_BYTES} bytes")
        return document, generation or hashlib.sha256(text).hexdigest()[:_GENERATION_DIGITS]

    def list(self, path: str, adapter: VaultAdapter) -> list[str]:
        """The names directly below `path`; empty if nothing is there.

        Raises:
            VaultProblemError: Vault cannot be used, or forbids it.

        """
        engine = KvV2(adapter) if self.version == 2 else KvV1(adapter)
        try:
            answer = engine.list_secrets(path, mount_point=self.mount)
        except VaultProblemError as error:
            if error.problem is not VaultProblem.ABSENT:
                raise
            return []
        data = answer.get("data")
        keys = data.get("keys") if isinstance(data, Mapping) else None
        if not isinstance(keys, list):
            raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
        return [key for key in keys if isinstance(key, str)]

    def _read_1(self, path: str, adapter: VaultAdapter) -> tuple[object, str]:
        answer = KvV1(adapter).read_secret(path, mount_point=self.mount)
        document = answer.get("data")
        if not isinstance(document, Mapping):
            raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
        if document.keys() == {"data", "metadata"}:  # version 2 wraps a document so; no credential has these fields
            raise VaultProblemError(VaultProblem.VERSION_2)
        return document, ""

    def _read_2(self, path: str, adapter: VaultAdapter) -> tuple[object, str]:
        answer = KvV2(adapter).read_secret_version(path, mount_point=self.mount, raise_on_deleted_version=True)
        data = answer.get("data")
        metadata = data.get("metadata") if isinstance(data, Mapping) else None
        version = metadata.get("version") if isinstance(metadata, Mapping) else None
        if not isinstance(data, Mapping) or not isinstance(version, int):
            raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
        return data.get("data"), str(version)
