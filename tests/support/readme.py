"""Writes the tables of the README that are made from the code: ``python -m tests.support.readme``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from app.adapters.prometheus import PrometheusSink
from app.api.problems import PROBLEMS
from app.settings.setting_errors import PREFIX
from app.settings.settings import Settings
from tests.support.repository import ROOT

README = ROOT / "README.md"


def metrics_table() -> str:
    """The table of metrics."""
    declared = PrometheusSink(CollectorRegistry(), lambda: 0.0, "1").declared
    rows = (f"| `{metric.name}` | {', '.join(metric.labels)} | {metric.text} |" for metric in declared)
    return "\n".join(("| metric | labels | meaning |", "|---|---|---|", *rows))


OTHER_ERRORS = (
    (
        "408, 431",
        "invalid_request",
        "408: the headers took more than 10 s. 431: they have more than 100 fields or 64 KiB",
    ),
    ("404", "not_found", "the path does not exist"),
    ("405", "method_not_allowed", "the header `Allow` lists the allowed methods"),
    ("500", "internal_error", "a bug; look for the request id in the log"),
    ("503", "not_ready", "`/readyz` only: the replica is starting or shutting down"),
)
"""Answers that no error of the domain causes: status, code, meaning."""


def errors_table() -> str:
    """The table of error codes."""
    ours = [(str(problem.status), error.code, problem.meaning) for error, problem in PROBLEMS.items()]
    rows = sorted((*ours, *OTHER_ERRORS), key=lambda row: row[0] if row[0][:3] != "408" else "400")
    lines = (f"| {status} | `{code}` | {meaning} |" for status, code, meaning in rows)
    return "\n".join(("| status | code | meaning, and what to do |", "|---|---|---|", *lines))


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
    tables = {"settings": settings_table(), "errors": errors_table(), "metrics": metrics_table()}
    for section, table in tables.items():
        text = written(text, section, table)
    README.write_text(text)
