"""All settings, read from the environment here and nowhere else. An invalid one prevents startup and is named."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError
from typing_extensions import override

from app.settings import forms, rules
from app.settings.credential_store import CredentialStoreSettings
from app.settings.duration import duration_seconds
from app.settings.egress import EgressSettings
from app.settings.ims import ImsSettings
from app.settings.kms import KmsSettings
from app.settings.redis import RedisSettings
from app.settings.serving import ServingSettings
from app.settings.setting_errors import PREFIX, SettingsError, explain_defect, explain_unknown
from app.settings.settings_group import SettingsGroup


class MintingSettings(EgressSettings, ImsSettings, KmsSettings, CredentialStoreSettings):
    """What a token is minted with: where credentials live, who signs, IMS, the way there. Enough for some commands."""


class Settings(RedisSettings, MintingSettings, ServingSettings):
    """All settings, in the order of the README's table: serving, minting, Redis, and those below."""

    keep_warm: Annotated[str, AfterValidator(forms.duration)] = Field(
        "72h",
        description="Tokens used within this time are refreshed though no caller asks (`90m`, `3d`; `0s`: none).",
    )
    audit_file: Path | None = Field(None, description="Audit log; default: standard output.")
    audit_chain: bool = Field(False, description="`true` adds a hash chain to the audit log (`docs/audit.md`).")
    audit_overflow: Literal["drop", "block"] = Field(
        "drop",
        description="What happens if audit lines cannot be written: `drop` counts them, `block` refuses requests.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Level of the log on standard error: `DEBUG`, `INFO`, `WARNING` or `ERROR`."
    )
    tracing: Literal["off", "otlp"] = Field(
        "off",
        description="`otlp` sends traces, configured by the standard `OTEL_` variables (`docs/tracing.md`); or `off`.",
    )
    tracing_orgs: bool = Field(False, description="`true` allows org ids in traces.")

    @override
    def _rules(self) -> tuple[rules.SettingRule, ...]:
        redis = bool(self.redis_url.get_secret_value())
        return (*super()._rules(), *rules.worker_rules(self.workers, redis=redis, linux=sys.platform == "linux"))

    @property
    def keep_warm_seconds(self) -> float:
        """Seconds for which a token is refreshed after its last use."""
        return duration_seconds(self.keep_warm)


NO_OPTIONS: Mapping[str, str] = MappingProxyType({})

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


def read_settings(environment: Mapping[str, str] | None = None, *, options: Mapping[str, str] = NO_OPTIONS) -> Settings:
    """Read the settings from the environment.

    Args:
        environment: Instead of the process' own, for tests and for `dev`.
        options: Variables that options of the command take the place of.

    Raises:
        SettingsError: Variables are unknown, malformed or missing; all are named, none is quoted.

    """
    return _read(Settings, {**(os.environ if environment is None else environment), **options})


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
    known = variables()
    # A value that `echo` put into a Kubernetes Secret often ends with a line end that is not part of it.
    given = {name[len(PREFIX) :].lower(): ours[name].rstrip("\r\n") for name in known if name in ours}
    fields = {name: value for name, value in given.items() if value}
    wrong = [explain_unknown(name, known) for name in sorted(ours.keys() - set(known))]
    if wrong:
        wrong.append("The README has a table of all variables.")
    wrong += _defects(model, fields)
    if wrong:
        raise SettingsError(" ".join(wrong))
    return _validated(model, fields)


def _defects(model: type[SettingsGroup], fields: Mapping[str, str]) -> list[str]:
    """A sentence for each setting that is malformed, or that is missing or contradicts another one.

    Which ones belong together is known only once each is well-formed. So the parts of the model are looked at one by
    one, too: a malformed setting does not hide what another part lacks.
    """
    sentences: dict[str, None] = {}
    for part in model.__mro__:
        if issubclass(part, SettingsGroup):
            sentences.update(dict.fromkeys(_defects_of_part(part, fields)))
    return [f"{sentence}." for sentence in sentences]


def _defects_of_part(part: type[SettingsGroup], fields: Mapping[str, str]) -> list[str]:
    try:
        return _validated(part, fields).contradictions()
    except ValidationError as error:
        return list(map(explain_defect, error.errors()))


def _validated(model: type[_Read], fields: Mapping[str, str]) -> _Read:
    return model.model_validate({name: value for name, value in fields.items() if name in model.model_fields})
