"""Settings that belong together: what all groups share."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from app.settings import rules


class SettingsGroup(BaseModel):
    """Settings that belong together.

    A plain model: only `app.settings.settings` reads the environment, so that tests and commands can pass a mapping.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Settings that only make sense together."""
        rules.refuse(self._rules())
        return self

    def _rules(self) -> tuple[rules.SettingRule, ...]:
        return ()
