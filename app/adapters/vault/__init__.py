"""Vault (or OpenBao, the same API): where tenants' credentials live, and a signer whose keys never leave it.

The way of a call: `session` (token, one login at a time, deadline) -> `threads` (a few threads of its own, for hvac
blocks) -> `wire` (hvac without its surprises) -> Vault.
"""

from app.adapters.vault.config import VaultConfig
from app.adapters.vault.credentials import VaultCredentialStore
from app.adapters.vault.session import VaultSession
from app.adapters.vault.transit import VaultTransitSigner

__all__ = ["VaultConfig", "VaultCredentialStore", "VaultSession", "VaultTransitSigner"]
