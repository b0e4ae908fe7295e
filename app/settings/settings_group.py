"""Settings that belong together: what all groups share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from app.settings import rules


class SettingsGroup(BaseModel):
    """Settings that belong together.

    A plain model: only `app.settings.settings` reads the environment, so that tests and commands can pass a mapping.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")

    def contradictions(self) -> list[str]:
        """A sentence for each rule that these settings break together, such as that one requires another.

        Not a validator: pydantic would run it only once each setting is well-formed, and report one error of all.
        """
        return rules.broken(self._rules())

    def _rules(self) -> tuple[rules.SettingRule, ...]:
        return ()
