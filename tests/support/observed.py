"""What operators are given, read as they get it: rules, dashboard, runbook."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.support.repository import ROOT

FILES = ROOT / "deploy" / "helm" / "ims-token-broker" / "files"
RULES = FILES / "rules.yaml"
DASHBOARD = FILES / "dashboards" / "ims-token-broker.json"
RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"
GUIDE = ROOT / "docs" / "observability.md"

_METRIC = re.compile(r"\b((?:job|instance):\w+(?::\w+)?|(?:ims_token_broker|process)_\w+)")


def alerts_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The alerts of a rule file."""
    return [rule for group in document["groups"] for rule in group["rules"] if "alert" in rule]


def panels_of(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels that show something, in order."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions_of(dashboard: dict[str, Any]) -> list[str]:
    """Every PromQL expression of a dashboard: panels, annotations and variables."""
    found = [target["expr"] for panel in panels_of(dashboard) for target in panel["targets"]]
    found += [entry["expr"] for entry in dashboard["annotations"]["list"] if "expr" in entry]
    queries = [variable["definition"] for variable in dashboard["templating"]["list"] if "definition" in variable]
    return found + [re.sub(r"^label_values\((.*), \w+\)$", r"\1", query) for query in queries]


def filled(expression: str, **variables: str) -> str:
    """An expression as Grafana sends it: its variables replaced."""
    values = {"__rate_interval": "1m", "namespace": ".*", "instance": ".*", **variables}
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expression)


def metrics_in(expression: str) -> Iterator[str]:
    """The metrics that an expression names."""
    yield from _METRIC.findall(re.sub(r'"[^"]*"', '""', expression))
