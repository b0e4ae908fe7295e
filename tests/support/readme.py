"""Writes the tables of the README that are made from the code: ``python -m tests.support.readme``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from app.adapters.prometheus import PrometheusSink
from tests.support.repository import ROOT

README = ROOT / "README.md"


def metrics_table() -> str:
    """The table of metrics."""
    declared = PrometheusSink(CollectorRegistry(), lambda: 0.0, "1").declared
    rows = (f"| `{metric.name}` | {', '.join(metric.labels)} | {metric.text} |" for metric in declared)
    return "\n".join(("| metric | labels | meaning |", "|---|---|---|", *rows))


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
    README.write_text(written(README.read_text(), "metrics", metrics_table()))
