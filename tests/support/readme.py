"""Writes the tables of the README that are made from the code: ``python -m tests.support.readme``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from app.adapters.prometheus import PrometheusSink
from app.setting_errors import PREFIX
from app.settings import Settings
from tests.support.repository import ROOT

README = ROOT / "README.md"


def metrics_table() -> str:
    """The table of metrics."""
    declared = PrometheusSink(CollectorRegistry(), lambda: 0.0, "1").declared
    rows = (f"| `{metric.name}` | {', '.join(metric.labels)} | {metric.text} |" for metric in declared)
    return "\n".join(("| metric | labels | meaning |", "|---|---|---|", *rows))


def settings_table() -> str:
    """The table of settings."""
    rows = (
        f"| `{PREFIX}{name.upper()}` | {_default(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    )
    return "\n".join(("| variable | default | meaning |", "|---|---|---|", *rows))


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined or value is None or str(value) in {"", "**********"}:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def written(text: str, section: str, table: str) -> str:
    """The README with `table` between the comments that name a section."""
    before, begin, rest = text.partition(f"<!-- {section} -->\n")
    _, end, after = rest.partition(f"\n<!-- /{section} -->")
    assert begin, section
    assert end, section
    return f"{before}{begin}{table}{end}{after}"


def between(section: str) -> str:
    """What the README has between the comments that name a section."""
    return README.read_text().partition(f"<!-- {section} -->\n")[2].partition(f"\n<!-- /{section} -->")[0]


if __name__ == "__main__":
    text = README.read_text()
    for section, table in (("settings", settings_table()), ("metrics", metrics_table())):
        text = written(text, section, table)
    README.write_text(text)
