"""Every ``BROKER_`` variable, typed; read here and nowhere else. A bad one stops the start and names itself."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from typing_extensions import override

from app import setting_forms as forms

PREFIX = "BROKER_"
DEFAULT_IMS_BASE_URL = "https://ims-na1.adobelogin.com"
KUBERNETES_TOKEN_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)|_PORT_[0-9]+_(TCP|UDP)|_PORT$")
_MOUNT = r"^/?[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*/?$"


class SettingsError(ValueError):
    """The environment is wrong; the text names each variable and what was expected, never a value."""


class _Group(BaseModel):
    """Settings that belong together.

    A plain model: `read_settings` alone looks at the environment, so that a mapping given to it is all there is.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Settings that only make sense together."""
        wrong = [f"{PREFIX}{sentence}" for is_so, sentence in self._disagreements() if is_so]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _disagreements(self) -> tuple[tuple[bool, str], ...]:
        return ()


class ServingSettings(_Group):
    """Where the broker listens, and whom it serves."""

    host: str = Field("127.0.0.1", description="Address to listen on; `0.0.0.0` in a container.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: Annotated[str | None, AfterValidator(forms.public_url)] = Field(
        None,
        description="The broker's URL as callers see it, for `/.well-known`; default: as each request names it.",
    )
    tls_cert_file: Path | None = Field(
        None, description="Certificate chain (PEM): the broker then serves HTTPS. Read anew when it changes."
    )
    tls_key_file: Path | None = Field(None, description="Private key (PEM, not encrypted) of that certificate.")
    policy_file: Path = Field(description="The policy (YAML). Required.")

    @override
    def _disagreements(self) -> tuple[tuple[bool, str], ...]:
        return (*super()._disagreements(), *self._of_tls())

    def _of_tls(self) -> tuple[tuple[bool, str], ...]:
        cert, key = self.tls_cert_file is not None, self.tls_key_file is not None
        return (
            (cert and not key, "TLS_KEY_FILE is required with BROKER_TLS_CERT_FILE"),
            (key and not cert, "TLS_CERT_FILE is required with BROKER_TLS_KEY_FILE"),
        )


class MintingSettings(_Group):
    """What a token is minted with: where credentials live, and IMS. A command that mints needs no others."""

    credential_store: Literal["vault", "directory"] = Field(
        "vault", description="Where credentials live: `vault` or `directory`."
    )
    credential_dir: Path | None = Field(None, description="Directory of credentials, for `directory`.")
    vault_addr: Annotated[str, AfterValidator(forms.vault_addr)] | None = Field(
        None, description="Vault's address, for `vault`."
    )
    vault_auth: Literal["token", "approle", "kubernetes"] = Field(
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
    def _disagreements(self) -> tuple[tuple[bool, str], ...]:
        return (*super()._disagreements(), *self._of_the_store())

    def _of_the_store(self) -> tuple[tuple[bool, str], ...]:
        if self.credential_store == "directory":
            return ((self.credential_dir is None, "CREDENTIAL_DIR is required with the directory store"),)
        token, token_file = self.vault_token, self.vault_token_file
        secret_id, secret_id_file = self.vault_secret_id, self.vault_secret_id_file
        approle = bool(self.vault_role_id and (secret_id or secret_id_file))
        auth = self.vault_auth
        return (
            (self.vault_addr is None, "VAULT_ADDR is required with the vault store"),
            (
                auth == "token" and not (token or token_file),
                "VAULT_TOKEN or BROKER_VAULT_TOKEN_FILE is required for auth token",
            ),
            (
                auth == "approle" and not approle,
                "VAULT_ROLE_ID and BROKER_VAULT_SECRET_ID (or _FILE) are required for auth approle",
            ),
            (auth == "kubernetes" and not self.vault_role, "VAULT_ROLE is required for auth kubernetes"),
            (
                auth == "token" and bool(token and token_file),
                "VAULT_TOKEN and BROKER_VAULT_TOKEN_FILE are both set; give one",
            ),
            (
                auth == "approle" and bool(secret_id and secret_id_file),
                "VAULT_SECRET_ID and BROKER_VAULT_SECRET_ID_FILE are both set; give one",
            ),
        )


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
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$",
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
    def _disagreements(self) -> tuple[tuple[bool, str], ...]:
        return (*super()._disagreements(), *self._of_redis())

    def _of_redis(self) -> tuple[tuple[bool, str], ...]:
        url = self.redis_url.get_secret_value()
        user, password, file = self.redis_username, self.redis_password, self.redis_password_file
        named = bool(user or password or file)
        return (
            (
                self.redis_cacert is not None and not url.startswith("rediss://"),
                "REDIS_CACERT is for rediss:// alone; change BROKER_REDIS_URL or leave it out",
            ),
            (
                bool(url) and self.cache_keys_file is None,
                "CACHE_KEYS_FILE is required with Redis; make one with `ims-token-broker keys create FILE`",
            ),
            (named and not url, "REDIS_URL is required with BROKER_REDIS_USERNAME, _PASSWORD and _PASSWORD_FILE"),
            (
                named and "@" in url,
                "REDIS_URL names a user or password already; leave out BROKER_REDIS_USERNAME and _PASSWORD(_FILE)",
            ),
            (bool(password and file), "REDIS_PASSWORD and BROKER_REDIS_PASSWORD_FILE are both set; give one"),
            (
                bool(user) and not (password or file),
                "REDIS_USERNAME needs BROKER_REDIS_PASSWORD or BROKER_REDIS_PASSWORD_FILE",
            ),
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
        raise SettingsError(" ".join(map(_unknown, unknown)) + " The README has a table of all variables.")
    fields = {name[len(PREFIX) :].lower(): value for name, value in ours.items() if value}
    try:
        return model.model_validate({name: value for name, value in fields.items() if name in model.model_fields})
    except ValidationError as error:
        raise SettingsError("; ".join(map(_explain, error.errors()))) from None


def _unknown(name: str) -> str:
    similar = get_close_matches(name.upper(), variables(), 1)
    if _SERVICE_LINK.search(name):
        return f"Unknown variable {name}: where Kubernetes injects it, set enableServiceLinks: false."
    return f"Unknown variable {name}{f': did you mean {similar[0]}?' if similar else '.'}"


def _explain(defect: ErrorDetails) -> str:
    """One sentence that names the variable and what is expected, in our words where pydantic's are a programmer's."""
    context = defect.get("ctx", {})
    match defect["type"]:
        case "missing":
            expected = "is required"
        case "literal_error":
            expected = f"must be {str(context['expected']).replace(chr(39), '')}"
        case "bool_parsing" | "bool_type":
            expected = "must be true or false"
        case "string_pattern_mismatch":
            expected = "has a character that is not allowed there, or is too long"
        case "int_parsing" | "int_parsing_size" | "int_from_float" | "greater_than_equal" | "less_than_equal":
            expected = "must be a whole number from 0 to 65535"
        case _:
            expected = defect["msg"].removeprefix("Value error, ")
    place = defect["loc"]
    return f"{PREFIX}{str(place[0]).upper()}: {expected}" if place else expected
