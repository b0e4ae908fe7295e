"""Settings of where credentials live: a directory, or Vault and how to log in to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from typing_extensions import override

from app.settings import forms, rules
from app.settings.settings_group import SettingsGroup

KUBERNETES_TOKEN_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_MOUNT = r"^/?[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?$"
"""Names of Vault, separated by slashes. None begins with a dot, so that none is a step upwards."""


class CredentialStoreSettings(SettingsGroup):
    """Where credentials are stored."""

    credential_store: Literal["vault", "directory"] = Field(
        "vault", description="Where credentials are stored: `vault` or `directory`."
    )
    credential_dir: Path | None = Field(None, description="Directory of credentials, for `directory`.")
    vault_addr: Annotated[str, AfterValidator(forms.vault_addr)] | None = Field(
        None, description="Vault's address, which may have a path; for `vault`."
    )
    vault_auth: rules.VaultAuth = Field(
        "token", description="How to log in to Vault: `token`, `approle`, `kubernetes`, `jwt` or `agent`."
    )
    vault_auth_mount: str | None = Field(
        None, pattern=_MOUNT, description="Mount path of that auth method; default: its name."
    )
    vault_token: Annotated[SecretStr | None, AfterValidator(forms.token)] = Field(
        None, description="A Vault token, for `token`."
    )
    vault_token_file: Path | None = Field(
        None, description="A file with a Vault token, for `token`, or with the JWT, for `jwt`; read at each login."
    )
    vault_role_id: str | None = Field(None, description="Role id, for `approle`.")
    vault_secret_id: Annotated[SecretStr | None, AfterValidator(forms.token)] = Field(
        None, description="Secret id, for `approle`."
    )
    vault_secret_id_file: Path | None = Field(
        None, description="A file with a secret id, read at each login; none with `bind_secret_id=false`."
    )
    vault_role: str | None = Field(None, description="Role, for `kubernetes` or `jwt`.")
    vault_kubernetes_token_file: Path = Field(
        KUBERNETES_TOKEN_FILE,
        description="Service-account token, for `kubernetes`, or `jwt` without a token file; read at each login.",
    )
    vault_mount: str = Field("secret", pattern=_MOUNT, description="Mount path of the KV engine.")
    vault_kv_version: int = Field(2, ge=1, le=2, description="Version of that KV engine: 2 or 1.")
    vault_prefix: str = Field("ims", pattern=_MOUNT, description="Path below the mount.")
    vault_transit_mount: str = Field("transit", pattern=_MOUNT, description="Mount path of the transit engine.")
    vault_cacert: Path | None = Field(None, description="CA bundle for Vault; default: the system's.")
    vault_cert_file: Path | None = Field(
        None, description="Client certificate chain (PEM) for Vault; read for each connection."
    )
    vault_key_file: Path | None = Field(None, description="Private key (PEM, not encrypted) of that certificate.")
    vault_namespace: str | None = Field(None, pattern=_MOUNT, description="Vault Enterprise namespace.")

    @override
    def _rules(self) -> tuple[rules.SettingRule, ...]:
        if self.credential_store == "directory":
            store: tuple[rules.SettingRule, ...] = (
                (self.credential_dir is None, "BROKER_CREDENTIAL_DIR is required with the directory store"),
            )
        else:
            given = {name.removeprefix("vault_") for name, value in self if name.startswith("vault_") and value}
            store = rules.vault_rules(self.vault_auth, given, plain=(self.vault_addr or "").lower().startswith("http:"))
        return (*super()._rules(), *store)
