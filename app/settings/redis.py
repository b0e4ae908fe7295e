"""Settings of the shared cache in Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from typing_extensions import override

from app.settings import forms, rules
from app.settings.redis_address import parse_redis_url
from app.settings.settings_group import SettingsGroup


class RedisSettings(SettingsGroup):
    """Where the shared cache is, how to log in to it, and what seals its values."""

    redis_url: Annotated[SecretStr, AfterValidator(forms.redis_url)] = Field(
        SecretStr(""),
        description="`redis://`, `redis+sentinel://` or `redis+cluster://`, `rediss` instead of `redis` for TLS; empty:"
        " memory only.",
    )
    redis_username: str | None = Field(None, description="User name for Redis, instead of one in the URL.")
    redis_password: SecretStr | None = Field(None, description="Password for Redis, instead of one in the URL.")
    redis_password_file: Path | None = Field(
        None, description="A file with the password for Redis, read for each new connection."
    )
    redis_sentinel_username: str | None = Field(None, description="User of the Sentinels' own access list.")
    redis_sentinel_password_file: Path | None = Field(
        None, description="A file with the Sentinels' own password, read for each question to them."
    )
    redis_cacert: Path | None = Field(None, description="CA bundle for Redis; default: the system's.")
    redis_cert_file: Path | None = Field(
        None,
        description="Client certificate chain (PEM), if Redis asks for one. Read again for each new connection.",
    )
    redis_key_file: Path | None = Field(None, description="Private key (PEM, not encrypted) of that certificate.")
    redis_prefix: str = Field(
        "itb",
        pattern=forms.REDIS_PREFIX,
        description="First part of every Redis key; one per deployment.",
    )
    cache_keys_file: Path | None = Field(None, description="Key ring for cached tokens; needed with Redis.")

    @override
    def _rules(self) -> tuple[rules.SettingRule, ...]:
        url = self.redis_url.get_secret_value()
        login = {name: bool(getattr(self, f"redis_{name}")) for name in ("username", "password", "password_file")}
        sentinel = {
            name: bool(getattr(self, f"redis_{name}")) for name in ("sentinel_username", "sentinel_password_file")
        }
        address = parse_redis_url(url) if url else None
        return (
            *super()._rules(),
            *rules.redis_connection_rules(
                address,
                login=any(login.values()),
                own_ca=self.redis_cacert is not None,
                cert=self.redis_cert_file is not None,
                key=self.redis_key_file is not None,
                sentinel_login=any(sentinel.values()),
            ),
            *rules.redis_rules(redis=bool(url), key_ring=self.cache_keys_file is not None, **login, **sentinel),
        )
