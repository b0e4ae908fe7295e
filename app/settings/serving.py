"""Settings of where the broker listens, and whom it serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from typing_extensions import override

from app.settings import forms, rules
from app.settings.settings_group import SettingsGroup

_POLICY_IS_MISSING = (
    "BROKER_POLICY_FILE is required; set it to the path of the policy, for which `ims-token-broker caller create NAME`"
    " prints the lines"
)


class ServingSettings(SettingsGroup):
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
    fast_path: Literal["on", "off"] = Field(
        "on", description="`on`: requests for known tokens are answered at the connection (not with tracing); or `off`."
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Worker processes that share the port; more than one needs Linux and Redis (`docs/kubernetes.md`).",
    )
    # A rule requires it, as with the settings that only some configurations require: all are reported together.
    policy_file: Path = Field(default_factory=Path, description="The policy (YAML). Required.")

    @override
    def _rules(self) -> tuple[rules.SettingRule, ...]:
        tls = rules.pair_rules("BROKER_TLS", cert=self.tls_cert_file is not None, key=self.tls_key_file is not None)
        return (*super()._rules(), (self.policy_file == Path(), _POLICY_IS_MISSING), *tls)
