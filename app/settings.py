"""Every ``BROKER_`` variable, typed; read here and nowhere else. An invalid one prevents startup and is named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from typing_extensions import override

from app import setting_forms as forms
from app import setting_rules as rules
from app.hosts import DEFAULT_IMS_BASE_URL
from app.redis_address import parse_redis_url
from app.setting_errors import PREFIX, SettingsError, explain, explain_unknown

KUBERNETES_TOKEN_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_MOUNT = r"^/?[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*/?$"


class _Group(BaseModel):
    """Settings that belong together.

    A plain model: `read_settings` alone looks at the environment, so that a mapping given to it is all there is.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Settings that only make sense together."""
        rules.refuse(self._rules())
        return self

    def _rules(self) -> tuple[rules.Rule, ...]:
        return ()


class ServingSettings(_Group):
    """Where the broker listens, and whom it serves."""

    host: str = Field("127.0.0.1", description="Address to listen on; `0.0.0.0` in a container.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: Annotated[str | None, AfterValidator(forms.public_url)] = Field(
        None,
        description="The broker's URL as callers see it, for `/.well-known`; default: from each request's Host header.",
    )
    tls_cert_file: Path | None = Field(
        None, description="Certificate chain (PEM): the broker then serves HTTPS. Read again when it changes."
    )
    tls_key_file: Path | None = Field(None, description="Private key (PEM, not encrypted) of that certificate.")
    policy_file: Path = Field(description="The policy (YAML). Required.")

    @override
    def _rules(self) -> tuple[rules.Rule, ...]:
        tls = rules.tls_rules(cert=self.tls_cert_file is not None, key=self.tls_key_file is not None)
        return (*super()._rules(), *tls)


class MintingSettings(_Group):
    """What a token is minted with: where credentials live, and IMS. A command that mints needs no others."""

    credential_store: Literal["vault", "directory"] = Field(
        "vault", description="Where credentials live: `vault` or `directory`."
    )
    credential_dir: Path | None = Field(None, description="Directory of credentials, for `directory`.")
    vault_addr: Annotated[str, AfterValidator(forms.vault_addr)] | None = Field(
        None, description="Vault's address, for `vault`."
    )
    vault_auth: rules.VaultAuth = Field(
        "token", description="How to log in to Vault: `token`, `approle` or `kubernetes`."
    )
    vault_auth_mount: str | None = Field(
        None, pattern=_MOUNT, description="Mount of that auth method; default: its name."
    )
    vault_token: Annotated[SecretStr | None, AfterValidator(forms.stripped)] = Field(
        None, description="A Vault token, for `token`."
    )
    vault_token_file: Path | None = Field(None, description="A file with a Vault token, read at each login.")
    vault_role_id: str | None = Field(None, description="Role id, for `approle`.")
    vault_secret_id: Annotated[SecretStr | None, AfterValidator(forms.stripped)] = Field(
        None, description="Secret id, for `approle`."
    )
    vault_secret_id_file: Path | None = Field(None, description="A file with a secret id, read at each login.")
    vault_role: str | None = Field(None, description="Role, for `kubernetes`.")
    vault_kubernetes_token_file: Path = Field(
        KUBERNETES_TOKEN_FILE, description="Service-account token, for `kubernetes`; read at each login."
    )
    vault_mount: str = Field("secret", pattern=_MOUNT, description="Mount of KV v2.")
    vault_prefix: str = Field("ims", pattern=_MOUNT, description="Path below the mount.")
    vault_transit_mount: str = Field("transit", pattern=_MOUNT, description="Mount of transit.")
    vault_cacert: Path | None = Field(None, description="CA bundle for Vault; default: the system's.")
    vault_namespace: str | None = Field(None, pattern=_MOUNT, description="Vault Enterprise namespace.")

    ims_base_urls: Annotated[str, AfterValidator(forms.base_urls)] = Field(
        DEFAULT_IMS_BASE_URL, description="Allow-list of IMS hosts, separated by commas."
    )
    ims_cacert: Path | None = Field(None, description="CA bundle for IMS; default: the system's.")

    @property
    def allowed_ims_base_urls(self) -> frozenset[str]:
        """The allow-list of IMS hosts."""
        return frozenset(self.ims_base_urls.split(","))

    @override
    def _rules(self) -> tuple[rules.Rule, ...]:
        if self.credential_store == "directory":
            store: tuple[rules.Rule, ...] = (
                (self.credential_dir is None, "BROKER_CREDENTIAL_DIR is required with the directory store"),
            )
        else:
            given = {name.removeprefix("vault_") for name, value in self if name.startswith("vault_") and value}
            store = rules.vault_rules(self.vault_auth, given)
        return (*super()._rules(), *store)


class Settings(MintingSettings, ServingSettings):
    """All settings, in the order of the README's table: serving, minting, and those below."""

    redis_url: Annotated[SecretStr, AfterValidator(forms.redis_url)] = Field(
        SecretStr(""), description="`redis://` or `rediss://`; empty: memory only."
    )
    redis_username: str | None = Field(None, description="User of Redis, instead of one in the URL.")
    redis_password: Annotated[SecretStr | None, AfterValidator(forms.unbroken)] = Field(
        None, description="Password of Redis, instead of one in the URL."
    )
    redis_password_file: Path | None = Field(
        None, description="A file with the password of Redis, read for each new connection."
    )
    redis_cacert: Path | None = Field(None, description="CA bundle for Redis; default: the system's.")
    redis_prefix: str = Field(
        "itb",
        pattern=forms.REDIS_PREFIX,
        description="First part of every Redis key; one per deployment.",
    )
    cache_keys_file: Path | None = Field(None, description="Key ring for cached tokens; needed with Redis.")

    audit_file: Path | None = Field(None, description="Audit log; default: standard output.")
    audit_chain: bool = Field(False, description="`true`: a hash chain in the audit log (`docs/audit.md`); or `false`.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="`DEBUG`, `INFO`, `WARNING` or `ERROR`; of the log on standard error."
    )
    tracing: Literal["off", "otlp"] = Field(
        "off", description="`otlp`: traces, sent as the standard `OTEL_` variables say (`docs/tracing.md`); or `off`."
    )
    tracing_orgs: bool = Field(False, description="`true`: org ids may be in traces; or `false`.")

    @override
    def _rules(self) -> tuple[rules.Rule, ...]:
        url = self.redis_url.get_secret_value()
        login = {name: bool(getattr(self, f"redis_{name}")) for name in ("username", "password", "password_file")}
        address = parse_redis_url(url) if url else None
        return (
            *super()._rules(),
            *rules.redis_connection_rules(address, login=any(login.values()), own_ca=self.redis_cacert is not None),
            *rules.redis_rules(redis=bool(url), key_ring=self.cache_keys_file is not None, **login),
        )


_Read = TypeVar("_Read", bound=_Group)


def variables() -> tuple[str, ...]:
    """The names of all variables, in order."""
    return tuple(f"{PREFIX}{name.upper()}" for name in Settings.model_fields)


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment.

    Args:
        environment: Instead of the process' own, for tests and for `dev`.

    Raises:
        SettingsError: A variable is unknown, malformed or missing; each is named, none is quoted.

    """
    return _read(Settings, environment)


def read_minting_settings(environment: Mapping[str, str] | None = None) -> MintingSettings:
    """Read what a command needs that mints without serving. Other settings may be missing, and are not checked.

    Args:
        environment: Instead of the environment of the process.

    Raises:
        SettingsError: A variable is unknown, or one for minting is malformed or missing.

    """
    return _read(MintingSettings, environment)


def _read(model: type[_Read], environment: Mapping[str, str] | None) -> _Read:
    values = dict(os.environ if environment is None else environment)
    ours = {name: value for name, value in values.items() if name.upper().startswith(PREFIX)}
    unknown = sorted(set(ours) - set(variables()))
    if unknown:
        raise SettingsError(
            " ".join(explain_unknown(name, variables()) for name in unknown)
            + " The README has a table of all variables."
        )
    fields = {name[len(PREFIX) :].lower(): value for name, value in ours.items() if value}
    try:
        return model.model_validate({name: value for name, value in fields.items() if name in model.model_fields})
    except ValidationError as error:
        raise SettingsError("; ".join(map(explain, error.errors()))) from None
