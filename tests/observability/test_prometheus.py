"""A real Prometheus looks at a real broker: it scrapes, takes the rules, sees tokens vended, and an alert fires."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator

import pytest

from tests.support.broker_without_vault import BrokerWithoutVault, broker_without_vault
from tests.support.observed import RULES
from tests.support.prometheus_server import PrometheusServer, running_prometheus
from tests.support.promtool import promtool
from tests.support.waiting import until_answered

VENDED = "sum(ims_token_broker_tokens_vended_total)"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerWithoutVault]:
    """A broker with two tenants."""
    with broker_without_vault(tmp_path_factory.mktemp("observed"), 2) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(broker: BrokerWithoutVault, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus with the rules as the chart delivers them, but impatient."""
    folder = tmp_path_factory.mktemp("prometheus")
    rules = folder / "rules.yaml"
    text = RULES.read_text().replace("RUNBOOK_URL_PREFIX", "https://wiki.example/RUNBOOK.md")
    rules.write_text(re.sub(r"^( +for:) \d+[mh]$", r"\1 1s", text, flags=re.MULTILINE))
    with running_prometheus(folder, [f"127.0.0.1:{broker.replica.port}"], rules, 0.5) as server:
        yield server


async def eventually(holds: Callable[[], bool], complaint: Callable[[], object]) -> None:
    """Ask Prometheus until `holds()`; fails with `complaint()` after 20 seconds."""
    try:
        await until_answered(lambda: asyncio.to_thread(holds), 20.0)
    except AssertionError:
        raise AssertionError(complaint()) from None


async def test_prometheus_sees_tokens_being_vended(broker: BrokerWithoutVault, prometheus: PrometheusServer) -> None:
    """Each token that a caller gets is one more in Prometheus, by tier; and IMS is up, with a clock like ours."""
    before = prometheus.value(VENDED) or 0.0
    for org in (broker.tenants[0].org, broker.tenants[1].org, broker.tenants[0].org):
        assert (await broker.replica.token(org)).status == 200

    await eventually(lambda: prometheus.value(VENDED) == before + 3, lambda: prometheus.query(VENDED))

    by_tier = "sum by (tier) (ims_token_broker_tokens_vended_total)"
    assert {labels["tier"]: value for labels, value in prometheus.query(by_tier)} == {"exchange": 2, "memory": 1}
    assert prometheus.value('ims_token_broker_dependency_up{dependency="ims"}') == 1
    assert prometheus.value("sum(ims_token_broker_tokens)") == 2
    unrefreshed = prometheus.query("ims_token_broker_tokens_unrefreshed")
    assert {labels["within"]: value for labels, value in unrefreshed} == {"1h": 0, "6h": 0}
    assert abs(prometheus.value("ims_token_broker_clock_skew_seconds") or 99) < 5
    assert (prometheus.value("process_resident_memory_bytes") or 0) > 1_000_000


async def test_promtool_finds_nothing_to_fix_in_a_real_answer(broker: BrokerWithoutVault) -> None:
    """What a broker that has served answers at /metrics passes promtool, down to the last line."""
    await broker.replica.token(broker.tenants[0].org)
    await broker.replica.token("stranger")
    reply = await broker.replica.get("/metrics")

    done = promtool("check", "metrics", given=reply.body)

    assert (done.returncode, done.stdout) == (0, "")
    assert b"_created" not in reply.body


async def test_prometheus_takes_every_rule(prometheus: PrometheusServer) -> None:
    """All rules are loaded and evaluated without an error, with the runbook's place filled in."""

    def rules() -> list[dict[str, object]]:
        return [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]

    await eventually(lambda: all(rule["health"] == "ok" for rule in rules()), rules)
    alerts = [rule for rule in rules() if rule["type"] == "alerting"]
    assert len(alerts) == RULES.read_text().count("- alert: ")
    assert "https://wiki.example/RUNBOOK.md#imstokenbrokervaultaway" in str(alerts)
    assert "RUNBOOK_URL_PREFIX" not in str(alerts)


async def test_a_refused_policy_raises_its_alert(broker: BrokerWithoutVault, prometheus: PrometheusServer) -> None:
    """A policy file that turns bad fires one alert and no other, and fixing the file ends it."""
    firing = 'ALERTS{alertstate="firing"}'
    good = broker.policy.path.read_text()
    await eventually(lambda: prometheus.value("count(up == 1)") == 1, lambda: prometheus.query("up"))
    await eventually(lambda: prometheus.query(firing) == [], lambda: prometheus.query(firing))
    broker.policy.path.write_text(good.replace('"version": 1', '"version": 99'))
    try:
        await eventually(
            lambda: prometheus.query(firing) != [], lambda: prometheus.query("ims_token_broker_policy_stale")
        )
        assert [labels["alertname"] for labels, _ in prometheus.query(firing)] == ["IMSTokenBrokerPolicyRefused"]
    finally:
        broker.policy.write()
    await eventually(lambda: prometheus.query(firing) == [], lambda: prometheus.query(firing))
