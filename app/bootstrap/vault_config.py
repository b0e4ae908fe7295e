"""Where Vault is, and how to log in. Imported only if the credentials are in Vault."""

from __future__ import annotations

from app.adapters.vault import VaultConfig
from app.settings.settings import MintingSettings


def vault_config(settings: MintingSettings) -> VaultConfig:
    """Where Vault is, and how to log in; for the vault store only."""
    assert settings.vault_addr is not None  # noqa: S101  # the settings require it
    token, secret_id = settings.vault_token, settings.vault_secret_id
    return VaultConfig(
        addr=settings.vault_addr,
        auth=settings.vault_auth,
        token=None if token is None else token.get_secret_value(),
        token_file=settings.vault_token_file,
        role_id=settings.vault_role_id,
        secret_id=None if secret_id is None else secret_id.get_secret_value(),
        secret_id_file=settings.vault_secret_id_file,
        role=settings.vault_role,
        kubernetes_token_file=settings.vault_kubernetes_token_file,
        auth_mount=settings.vault_auth_mount,
        cacert=settings.vault_cacert,
        cert_file=settings.vault_cert_file,
        key_file=settings.vault_key_file,
        namespace=settings.vault_namespace,
    )
