"""Vault (or OpenBao, the same API): the store of tenants' credentials, and a signer whose keys never leave it.

The path of a call: `session` (token, one login at a time, deadline) -> `threads` (a few threads of its own, because
hvac blocks) -> `wire` (hvac without its surprises) -> Vault.
"""

from app.adapters.vault.config import VaultConfig
from app.adapters.vault.credentials import VaultCredentialStore
from app.adapters.vault.session import VaultSession
from app.adapters.vault.transit import VaultTransitSigner
from app.adapters.vault.transit_keys import VaultTransitKeys
from app.adapters.vault.vault_diagnosis import VaultDiagnosis, VaultLayout
from app.adapters.vault.vault_documents import VaultDocuments

__all__ = [
    "VaultConfig",
    "VaultCredentialStore",
    "VaultDiagnosis",
    "VaultDocuments",
    "VaultLayout",
    "VaultSession",
    "VaultTransitKeys",
    "VaultTransitSigner",
]
