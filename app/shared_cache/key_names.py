"""Names of the keys in the shared cache. No name holds a token or a secret.

The braces make all keys of one credential share a slot of a Redis Cluster.
"""

from __future__ import annotations

import hashlib
import re

from app.domain.learned_rate import BudgetKey
from app.domain.names import CredentialRef, TokenKey
from app.settings.forms import REDIS_PREFIX

DEFAULT_PREFIX = "itb"

_PREFIX = re.compile(REDIS_PREFIX)


class KeyNames:
    """Builds the names under one prefix.

    Args:
        prefix: Beginning of every name; two brokers on one backend need two prefixes.

    Raises:
        ValueError: The prefix has a character that would make names ambiguous.

    """

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        if _PREFIX.fullmatch(prefix) is None:
            raise ValueError(
                "The prefix of Redis keys must be 1 to 32 letters, digits, dots, _ or -, a letter or digit first."
            )
        self._prefix = prefix
        self.purges = f"{prefix}:purges"
        self.replicas = f"{prefix}:{{limits}}:replicas"

    def token(self, key: TokenKey) -> str:
        """The key of the sealed token of `key`."""
        return f"{self._of(key.ref)}:token:{_selection(key)}"

    def lease(self, key: TokenKey) -> str:
        """The key of the lease of `key`."""
        return f"{self._of(key.ref)}:lease:{_selection(key)}"

    def epoch(self, ref: CredentialRef) -> str:
        """The key of the purge counter of `ref`."""
        return f"{self._of(ref)}:epoch"

    def hold(self, ref: CredentialRef) -> str:
        """Present while IMS asks not to be called with `ref`."""
        return f"{self._of(ref)}:hold"

    def replaced(self, ref: CredentialRef) -> str:
        """Present for a while after a reported token of `ref` was replaced."""
        return f"{self._of(ref)}:replaced"

    def budget(self, key: BudgetKey) -> str:
        """The learned rate of exchanges of a client at an IMS host."""
        digest = hashlib.sha256(f"{key.ims_base_url} {key.client_id}".encode()).hexdigest()
        return f"{self._prefix}:{{budget/{digest}}}"

    def limit(self, caller: str) -> str:
        """The bucket of a caller's limit. All of these share a slot, as one script has those of many callers."""
        return f"{self._prefix}:{{limits}}:{hashlib.sha256(caller.encode()).hexdigest()}"

    def _of(self, ref: CredentialRef) -> str:
        return f"{self._prefix}:{{{ref.org}/{ref.name}}}"


def _selection(key: TokenKey) -> str:
    """The selection of scopes: ``*`` for all, else the SHA-256 of its label, which may be long."""
    label = key.selection.label
    return label if label == "*" else hashlib.sha256(label.encode()).hexdigest()
