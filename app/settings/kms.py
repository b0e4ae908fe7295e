"""Settings of AWS KMS, which signs for credentials that have a ``kms_key``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

from pydantic import AfterValidator, Field
from typing_extensions import override

from app.hosts import AWS_REGION
from app.settings import forms, rules
from app.settings.settings_group import SettingsGroup


class KmsSettings(SettingsGroup):
    """Where AWS KMS is. The login is that of the AWS SDK, from the standard ``AWS_`` variables."""

    kms_region: str | None = Field(
        None,
        pattern=f"^{AWS_REGION}$",
        description="AWS region, for STS and for a `kms_key` without ARN; turns AWS KMS on (`docs/signing.md`).",
    )
    kms_endpoint_url: Annotated[str | None, AfterValidator(forms.kms_endpoint_url)] = Field(
        None, description="URL of AWS KMS in that region, such as a VPC endpoint; default: the region's own."
    )

    @override
    def _rules(self) -> tuple[rules.SettingRule, ...]:
        given = {"region": self.kms_region is not None, "endpoint_url": self.kms_endpoint_url is not None}
        return (*super()._rules(), *rules.kms_rules(**given, sdk=_has_sdk()))


def _has_sdk() -> bool:
    """Whether the extra ``aws`` is installed."""
    return find_spec("botocore") is not None
