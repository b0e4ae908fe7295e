"""What operators see: only metrics that exist, expressions that parse, commands that are there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from typer.main import get_command

from app.adapters.prometheus import PrometheusSink
from app.cli.program import app
from app.domain import events
from app.domain.decision import VENDED, Decision
from tests.support.observed import (
    DASHBOARD,
    GUIDE,
    RULES,
    RUNBOOK,
    alerts_of,
    expressions_of,
    filled,
    metrics_in,
    panels_of,
)
from tests.support.promtool import complaints, promtool

DASH: dict[str, Any] = json.loads(DASHBOARD.read_text())
PANELS = panels_of(DASH)
RULE_DOCUMENT: dict[str, Any] = yaml.safe_load(RULES.read_text())
RECORDS = {rule["record"] for group in RULE_DOCUMENT["groups"] for rule in group["rules"] if "record" in rule}


def exported() -> str:
    """What a broker exports to which a little of everything has happened."""
    sink = PrometheusSink(CollectorRegistry(), lambda: 0.0, "1")
    sink.emit(events.ExchangeFinished(None, "jwt", "issued", 0.1))  # type: ignore[arg-type]  # the sink reads no ref
    sink.emit(events.DependencyCalled("ims", "exchange", "ok", 0.1))
    sink.emit(events.RequestDecided(0.0, "id", Decision("/token", "vend", VENDED, "c", tier="memory")))
    sink.emit(events.RequestDecided(0.0, "id", Decision("/token", "vend", "forbidden", "c")))
    return sink.render().decode()


def known_metrics() -> set[str]:
    """The names of all metrics, with those of a histogram's parts."""
    found = re.findall(r"^# TYPE (\S+) (\S+)$", exported(), re.MULTILINE)
    parts = {name + part for name, kind in found if kind == "histogram" for part in ("_bucket", "_sum", "_count")}
    return {name for name, _ in found} | parts | RECORDS


def runbook_spans() -> Iterator[str]:
    """Everything that the runbook sets as code."""
    yield from (re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", RUNBOOK.read_text()))


def runbook_queries() -> list[str]:
    """The PromQL of the runbook: what names a metric."""
    return [span for span in runbook_spans() if re.search(r"ims_token_broker_|process_", span)]


def test_promtool_finds_nothing_to_fix_in_the_metrics() -> None:
    """Names, types, units and help texts are as Prometheus wants them."""
    done = promtool("check", "metrics", given=exported().encode())

    assert (done.returncode, done.stdout) == (0, "")


def test_the_dashboard_shows_only_metrics_that_exist() -> None:
    """Every metric that the dashboard names is exported, and so is every one in the rules and in the runbook."""
    rules = [rule["expr"] for group in RULE_DOCUMENT["groups"] for rule in group["rules"]]
    named = {metric for text in [*expressions_of(DASH), *rules, *runbook_queries()] for metric in metrics_in(text)}

    assert named - known_metrics() == set()
    assert {"ims_token_broker_tokens_vended_total", "process_open_fds"} <= named


def test_no_metric_is_left_unseen() -> None:
    """Every metric of the broker's own is on the dashboard, so that each has a reader."""
    shown = {metric for text in expressions_of(DASH) for metric in metrics_in(text)}
    families = {re.sub(r"_(bucket|sum|count)$", "", metric) for metric in shown}
    own = set(re.findall(r"^# TYPE (ims_token_broker_\S+) ", exported(), re.MULTILINE))

    assert own - families == set()


def test_every_expression_parses(tmp_path: Path) -> None:
    """Prometheus can parse every expression of the dashboard and of the runbook."""
    expressions = [*(filled(text) for text in expressions_of(DASH)), *runbook_queries()]

    assert complaints(expressions, tmp_path) == ""
    assert complaints(["sum(up"], tmp_path) != ""


def test_the_dashboard_is_whole() -> None:
    """Ids are unique; panels have title, description, unit and the chosen data source, and none covers another."""
    assert DASH["schemaVersion"] >= 39
    assert [variable["name"] for variable in DASH["templating"]["list"]] == ["datasource", "namespace", "instance"]
    ids = [panel["id"] for panel in DASH["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASH["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert '$namespace"' in target["expr"], target["expr"]
            assert target["datasource"]["uid"] == "${datasource}"


def test_every_row_is_there() -> None:
    """The rows are the questions an operator has."""
    rows = [panel["title"] for panel in DASH["panels"] if panel["type"] == "row"]

    assert rows == [
        "Promises",
        "Exchanges",
        "Tokens",
        "Dependencies",
        "Policy and audit",
        "Certificates and clock",
        "Process",
    ]


def test_the_runbook_names_commands_that_exist() -> None:
    """Every line of the runbook that runs the broker's own program names a command and options that it has."""
    lines = [span for span in runbook_spans() if span.startswith("ims-token-broker ")]
    assert len(lines) >= 4
    for line in lines:
        words = shlex.split(line)[1:]
        command: Any = get_command(app)
        path = []
        while getattr(command, "commands", None):
            path.append(words.pop(0))
            command = command.commands[path[-1]]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    """The runbook's sections are the alerts, in the order of the rules."""
    sections = re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    alerts = [alert["alert"] for alert in alerts_of(RULE_DOCUMENT)]

    assert sections == alerts


def test_links_of_the_runbook_lead_somewhere() -> None:
    """Every link within the runbook has a heading to go to."""
    text = RUNBOOK.read_text()
    anchors = {title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}

    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= anchors


@pytest.mark.parametrize("alert", alerts_of(RULE_DOCUMENT), ids=lambda alert: str(alert["alert"]))
def test_the_guide_lists_each_alert(alert: dict[str, Any]) -> None:
    """The table of alerts in the guide has each alert with its severity, its `for` duration and its sentence."""
    summary = alert["annotations"]["summary"]
    row = f"| `{alert['alert']}` | {alert['labels']['severity']} | {alert.get('for', '0')} | {summary} |"

    assert row in GUIDE.read_text()
