"""A plugin of pytest for runs with mutants: few random examples per test, always the same ones, never made smaller."""

from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile(
    "mutants",
    max_examples=20,
    phases=[Phase.explicit, Phase.generate],
    database=None,
    deadline=None,
    derandomize=True,
)
settings.load_profile("mutants")
