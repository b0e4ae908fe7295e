"""Settings of the egress proxy, if IMS and the issuers of callers are reached only through one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from typing_extensions import override

from app.settings import forms, rules
from app.settings.no_proxy import DEFAULT_NO_PROXY
from app.settings.settings_group import SettingsGroup


class EgressSettings(SettingsGroup):
    """The proxy for connections to IMS and to issuers of callers. Vault and Redis are always reached directly."""

    proxy_url: Annotated[str | None, AfterValidator(forms.proxy_url)] = Field(
        None,
        description="Egress proxy for IMS and for issuers' keys, `http://host:port` or `https://host:port` (CONNECT); "
        "default: none. `HTTPS_PROXY` is not read.",
    )
    proxy_username: str | None = Field(None, description="User name for the proxy (Basic authentication).")
    proxy_password_file: Path | None = Field(
        None, description="A file with the password of that user; read again when the proxy refuses it."
    )
    no_proxy: Annotated[str, AfterValidator(forms.no_proxy)] = Field(
        DEFAULT_NO_PROXY,
        description="Hosts, `.suffixes` and CIDR ranges that are reached without the proxy, separated by commas.",
    )

    @override
    def _rules(self) -> tuple[rules.SettingRule, ...]:
        login = {"username": self.proxy_username is not None, "password_file": self.proxy_password_file is not None}
        return (*super()._rules(), *rules.proxy_rules(url=self.proxy_url is not None, **login))
