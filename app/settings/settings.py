"""All settings, read from the environment here and nowhere else. An invalid one prevents startup and is named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from app.settings.credential_store import CredentialStoreSettings
from app.settings.egress import EgressSettings
from app.settings.ims import ImsSettings
from app.settings.redis import RedisSettings
from app.settings.serving import ServingSettings
from app.settings.setting_errors import PREFIX, SettingsError, explain_defect, explain_unknown
from app.settings.settings_group import SettingsGroup


class MintingSettings(EgressSettings, ImsSettings, CredentialStoreSettings):
    """What a token is minted with: where credentials live, IMS, the way there. A command that mints needs no others."""


class Settings(RedisSettings, MintingSettings, ServingSettings):
    """All settings, in the order of the README's table: serving, minting, Redis, and those below."""

    audit_file: Path | None = Field(None, description="Audit log; default: standard output.")
    audit_chain: bool = Field(False, description="`true`: a hash chain in the audit log (`docs/audit.md`); or `false`.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="`DEBUG`, `INFO`, `WARNING` or `ERROR`; of the log on standard error."
    )
    tracing: Literal["off", "otlp"] = Field(
        "off", description="`otlp`: traces, sent as the standard `OTEL_` variables say (`docs/tracing.md`); or `off`."
    )
    tracing_orgs: bool = Field(False, description="`true`: org ids may be in traces; or `false`.")


_Read = TypeVar("_Read", bound=SettingsGroup)


def unread_proxy_variables(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The usual variables of a proxy that are set. They are not read: a secret must go through a chosen proxy only.

    Args:
        environment: Instead of the environment of the process.

    """
    values = os.environ if environment is None else environment
    return tuple(name for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy") if values.get(name))


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


def read_redis_settings(environment: Mapping[str, str] | None = None) -> RedisSettings:
    """Read what a command needs that looks into Redis. Other settings may be missing, and are not checked.

    Args:
        environment: Instead of the environment of the process.

    Raises:
        SettingsError: A variable is unknown, or one for Redis is malformed or missing.

    """
    return _read(RedisSettings, environment)


def _read(model: type[_Read], environment: Mapping[str, str] | None) -> _Read:
    values = dict(os.environ if environment is None else environment)
    ours = {name: value for name, value in values.items() if name.upper().startswith(PREFIX)}
    unknown = sorted(set(ours) - set(variables()))
    if unknown:
        raise SettingsError(
            " ".join(explain_unknown(name, variables()) for name in unknown)
            + " The README has a table of all variables."
        )
    # A value that `echo` put into a Kubernetes Secret often ends with a line end that is not part of it.
    given = {name[len(PREFIX) :].lower(): value.rstrip("\r\n") for name, value in ours.items()}
    fields = {name: value for name, value in given.items() if value}
    try:
        return model.model_validate({name: value for name, value in fields.items() if name in model.model_fields})
    except ValidationError as error:
        raise SettingsError("; ".join(map(explain_defect, error.errors()))) from None
