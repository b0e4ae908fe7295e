"""The alerts, judged by the real promtool: each fires when it must and is quiet otherwise; each mutant is caught."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.observed import RULES, RUNBOOK, alerts_of
from tests.support.promtool import promtool
from tests.support.repository import ROOT

CASES = Path(__file__).with_name("rules_test.yaml")
DOCUMENT: dict[str, Any] = yaml.safe_load(RULES.read_text())
ALERTS = {alert["alert"]: alert for alert in alerts_of(DOCUMENT)}
_THRESHOLD = re.compile(r"(?<=[<>=] )(\d+(?:\.\d+)?)")

Alert = dict[str, Any]


def failed_alerts(folder: Path, mutate: Callable[[Alert], Alert | None]) -> tuple[set[str], set[str]]:
    """The alerts that were mutated, and those whose cases fail by promtool."""
    document = copy.deepcopy(DOCUMENT)
    mutated = set()
    for alert in alerts_of(document):
        mutant = mutate(dict(alert))
        if mutant is not None:
            assert mutant != alert
            alert.clear()
            alert.update(mutant)
            mutated.add(alert["alert"])
    rules, cases = folder / "rules.yaml", folder / "cases.yaml"
    rules.write_text(yaml.safe_dump(document))
    cases.write_text(re.sub(r"^rule_files: .*$", f"rule_files: [{rules}]", CASES.read_text(), flags=re.MULTILINE))
    said = promtool("test", "rules", str(cases)).stdout
    return mutated, set(re.findall(r"alertname: (\w+), time", said))


def changed(pattern: re.Pattern[str], change: Callable[[str], str]) -> Callable[[Alert], Alert | None]:
    """A mutation of an alert's expression; None if there is nothing to mutate."""

    def mutate(alert: Alert) -> Alert | None:
        expression, count = pattern.subn(lambda found: change(found[0]), alert["expr"])
        return {**alert, "expr": expression} if count else None

    return mutate


def flipped(alert: Alert) -> Alert:
    """Every comparison turned round; what is absent is asked for as present."""
    turned = {" > ": " < ", " < ": " > ", " == ": " != "}
    expression = re.sub(
        r"(?<=.) (?:[<>]|==) |^[<>] ", lambda found: turned.get(found[0], "< "), alert["expr"], flags=re.MULTILINE
    )
    return {**alert, "expr": expression.replace("absent(", "(")}


def stricter(number: str) -> str:
    """A threshold that is reached later."""
    return "2" if float(number) <= 1 else str(2 * float(number))


def looser(number: str) -> str:
    """A threshold that is reached earlier."""
    return {"0": "-1", "1": "0.5"}.get(number, str(float(number) / 2))


def without_for(alert: Alert) -> Alert | None:
    """An alert that fires at once."""
    return {name: value for name, value in alert.items() if name != "for"} if "for" in alert else None


def longer_for(alert: Alert) -> Alert | None:
    """An alert that waits half as long again."""
    if "for" not in alert:
        return None
    seconds = {"m": 60, "h": 3600}[alert["for"][-1]] * int(alert["for"][:-1])
    return {**alert, "for": f"{seconds * 3 // 2}s"}


def test_prometheus_takes_the_rules() -> None:
    """The rule file is valid for promtool."""
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))

    assert done.returncode == 0, done.stdout


def test_all_cases_hold() -> None:
    """Each alert fires, with the labels and the words that are written down, and is quiet, when its cases say so."""
    done = promtool("test", "rules", str(CASES))

    assert done.returncode == 0, done.stdout


def test_each_alert_has_both_cases() -> None:
    """Of each alert there is at least one moment at which it fires and one at which it does not."""
    moments = defaultdict(set)
    for test in yaml.safe_load(CASES.read_text())["tests"]:
        for moment in test["alert_rule_test"]:
            assert test["name"].startswith(f"{moment['alertname']}: ")
            moments[moment["alertname"]].add(bool(moment["exp_alerts"]))

    assert moments == {name: {True, False} for name in ALERTS}


@pytest.mark.parametrize(
    "mutate",
    [flipped, changed(_THRESHOLD, stricter), changed(_THRESHOLD, looser), without_for, longer_for],
    ids=["flipped", "stricter", "looser", "without for", "longer for"],
)
def test_each_mutant_is_caught(tmp_path: Path, mutate: Callable[[Alert], Alert | None]) -> None:
    """Every alert that is mutated so fails one of its own cases: the cases are close enough to the threshold."""
    mutated, failed = failed_alerts(tmp_path, mutate)

    assert len(mutated) >= 16
    assert mutated - failed == set()


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_says_what_to_do(name: str) -> None:
    """An alert has a severity, a sentence, an explanation and a link to a section of the runbook that exists."""
    alert = ALERTS[name]
    told = alert["annotations"]
    sections = re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE)

    assert alert["labels"] in ({"severity": "warning"}, {"severity": "critical"})
    assert set(told) == {"summary", "description", "runbook_url"}
    assert told["runbook_url"] == f"RUNBOOK_URL_PREFIX#{name.lower()}"
    assert name in sections
    assert len(told["summary"]) <= 80
    assert told["description"].endswith(".")


def test_every_alert_that_a_document_names_exists() -> None:
    """Every alert that the README or a page of `docs` names exists."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"alert `(\w+)|`(IMSTokenBroker\w+)`", page.read_text())}

    assert named
    assert {"".join(pair) for pair in named} <= set(ALERTS)


def _selectors(expression: str) -> Iterator[str]:
    yield from re.findall(r"\{([^}]*)\}", expression)


def test_no_rule_assumes_where_the_broker_runs() -> None:
    """No expression selects a job, a namespace or an instance of the broker; `job_name` is of the chart's CronJob."""
    rules = [rule for group in DOCUMENT["groups"] for rule in group["rules"]]
    selected = {
        label for rule in rules for part in _selectors(rule["expr"]) for label in re.findall(r"(\w+)[=!]", part)
    }

    assert selected <= {"dependency", "job_name", "kind", "outcome", "reason", "state", "within"}
