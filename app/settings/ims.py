"""Settings of the connections to Adobe IMS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from app.hosts import DEFAULT_IMS_BASE_URL
from app.settings import forms
from app.settings.settings_group import SettingsGroup


class ImsSettings(SettingsGroup):
    """Which IMS hosts tokens are requested from, and how they are reached."""

    ims_base_urls: Annotated[str, AfterValidator(forms.base_urls)] = Field(
        DEFAULT_IMS_BASE_URL, description="Allow-list of IMS hosts, separated by commas."
    )
    max_exchanges: int = Field(
        20, ge=1, le=500, description="Exchanges with IMS at once in each replica; further ones wait for their turn."
    )
    ims_cacert: Path | None = Field(None, description="CA bundle for IMS; default: the system's.")

    @property
    def allowed_ims_base_urls(self) -> frozenset[str]:
        """The allow-list of IMS hosts."""
        return frozenset(self.ims_base_urls.split(","))
