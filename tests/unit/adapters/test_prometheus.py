"""Metrics: each event counts in its own series, and no series contains, or grows with, what callers send."""

from __future__ import annotations

import math
import weakref
from dataclasses import replace
from typing import Never

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from app.adapters.prometheus import PrometheusSink
from app.adapters.prometheus.gauges import ASKED
from app.domain import events
from app.domain.credential import CredentialKind
from app.domain.decision import DONE, VENDED, Decision, Tier
from app.domain.names import CredentialName, CredentialRef, OrgId
from tests.factories import KEY, REF, make_key
from tests.fakes import DAY, NOW, ManualClock


class SinkWithRegistry:
    """A sink with its own registry."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.registry = CollectorRegistry()
        self.sink = PrometheusSink(self.registry, self.clock, "1.2.3")

    def emit(self, *told: events.Event) -> None:
        """Emit these events."""
        for event in told:
            self.sink.emit(event)

    def value(self, metric: str, **labels: str) -> float | None:
        """The current value of a series, or None if there is no such series."""
        self.sink.render()
        return self.registry.get_sample_value(f"ims_token_broker_{metric}", labels)

    def series(self) -> dict[str, list[dict[str, str]]]:
        """The names of all rendered samples, with the labels of their series."""
        found: dict[str, list[dict[str, str]]] = {}
        for family in text_string_to_metric_families(self.sink.render().decode()):
            for sample in family.samples:
                found.setdefault(sample.name, []).append(dict(sample.labels))
        return found


@pytest.fixture
def metrics() -> SinkWithRegistry:
    """Metrics before any event."""
    return SinkWithRegistry()


def test_the_servers_certificate_is_absent_until_there_is_one(metrics: SinkWithRegistry) -> None:
    """Without HTTPS there is no sample, because an alert would read 0 as expired; with HTTPS it is the expiry."""
    name = "tls_not_after_timestamp_seconds"
    assert metrics.value(name) is None
    metrics.emit(events.ServerCertificateLoaded(NOW, NOW + 5), events.ServerCertificateLoaded(NOW, NOW + 9))
    assert metrics.value(name) == NOW + 9
    metrics.emit(events.ServerCertificateRefused(NOW, "key: does not belong to the certificate"))
    assert (metrics.value(name), metrics.value("tls_refusals_total")) == (NOW + 9, 1)


def vended(caller: str = "journey", tier: Tier = "memory", org: str | None = None) -> Decision:
    """A decision to vend a token."""
    return Decision("/token", "vend", VENDED, caller, org, "default", tier=tier)


def refused(code: str, caller: str | None = "journey") -> Decision:
    """A decision to refuse."""
    return Decision("/headers", "vend", code, caller)


def decided(decision: Decision, times: int = 1) -> list[events.Event]:
    """Requests with the same decision."""
    return [events.RequestDecided(NOW, f"id-{number}", decision) for number in range(times)]


def test_vended_tokens_are_counted_by_caller_and_tier(metrics: SinkWithRegistry) -> None:
    """A vended token counts for its caller and its tier, and the count is current at each scrape."""
    one = vended()
    metrics.emit(*decided(one, 3), *decided(vended(tier="exchange")), *decided(vended("export"), 2))
    assert metrics.value("tokens_vended_total", caller="journey", tier="memory") == 3
    assert metrics.value("tokens_vended_total", caller="journey", tier="exchange") == 1
    assert metrics.value("tokens_vended_total", caller="export", tier="memory") == 2
    metrics.sink.emit_granted([events.RequestDecided(NOW, "id", one)])
    assert metrics.value("tokens_vended_total", caller="journey", tier="memory") == 4
    assert metrics.value("requests_total", endpoint="/token", outcome="vended") == 7
    assert "ims_token_broker_requests_refused_total" not in metrics.series()


def test_refusals_are_counted_by_code(metrics: SinkWithRegistry) -> None:
    """A refusal counts for its endpoint, code and caller, not as a token; before authentication the caller is empty."""
    metrics.emit(*decided(refused("forbidden"), 2), *decided(refused("unauthenticated", None), 3))
    assert metrics.value("requests_refused_total", endpoint="/headers", code="forbidden", caller="journey") == 2
    assert metrics.value("requests_refused_total", endpoint="/headers", code="unauthenticated", caller="") == 3
    assert metrics.value("requests_total", endpoint="/headers", outcome="forbidden") == 2
    assert "ims_token_broker_tokens_vended_total" not in metrics.series()


def test_an_action_without_a_token_is_neither_vended_nor_refused(metrics: SinkWithRegistry) -> None:
    """A purge counts as a request, but neither as a token nor as a refusal."""
    metrics.emit(*decided(Decision("/token", "purge", DONE, "journey")))
    assert metrics.value("requests_total", endpoint="/token", outcome="done") == 1
    assert not {"ims_token_broker_tokens_vended_total", "ims_token_broker_requests_refused_total"} & set(
        metrics.series()
    )


@pytest.mark.parametrize(("event", "metric", "labels"), [
    (events.ExchangeFinished(REF, "jwt", "issued", 0.3), "exchanges", {"kind": "jwt", "outcome": "issued"}),
    (events.CacheLookedUp("shared", "unavailable"), "cache_lookups", {"tier": "shared", "outcome": "unavailable"}),
    (events.CacheRecordRefused(KEY, "integrity"), "cache_records_refused", {"reason": "integrity"}),
    (events.DependencyCalled("vault", "read", "ok", 0.1), "dependency_calls",
     {"dependency": "vault", "operation": "read", "outcome": "ok"}),
    (events.PolicyRefused(NOW, "version: must be 1"), "policy_refusals", {}),
    (events.KeyRingRefused(NOW, "version: must be 1"), "key_ring_refusals", {}),
    (events.CacheRecordRefused(KEY, "unknown_key"), "cache_records_refused", {"reason": "unknown_key"}),
    (events.CredentialPurged(NOW, REF, 1, "remote"), "purges", {"origin": "remote"}),
    (events.RefreshFailed(REF, "ims_unavailable", "down"), "refresh_failures", {"code": "ims_unavailable"}),
    (events.TaskFailed("purge-listener", "KeyError"), "task_failures", {"task": "purge-listener"}),
], ids=lambda value: type(value).__name__ if isinstance(value, events.Event) else None)  # fmt: skip
def test_each_event_has_a_counter(
    metrics: SinkWithRegistry, event: events.Event, metric: str, labels: dict[str, str]
) -> None:
    """Each event counts once in its own series, and in no other counter."""
    metrics.emit(event, event)
    assert metrics.value(f"{metric}_total", **labels) == 2
    counted = {
        sample.name
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.value and not sample.name.startswith("process_")
    }
    assert counted == {f"ims_token_broker_{metric}_total"}


def test_durations_are_histograms(metrics: SinkWithRegistry) -> None:
    """The durations of calls to IMS and other systems are counted in cumulative buckets."""
    metrics.emit(*(events.ExchangeFinished(REF, "jwt", "issued", seconds) for seconds in (0.04, 0.3, 14.0, 60.0)))
    metrics.emit(events.DependencyCalled("redis", "read", "ok", 0.002))
    exchange = "exchange_duration_seconds"
    labels = {"kind": "jwt", "outcome": "issued"}
    counts = [metrics.value(f"{exchange}_bucket", **labels, le=le) for le in ("0.05", "0.35", "10.0", "15.0", "+Inf")]
    assert counts == [1, 2, 2, 3, 4]
    assert metrics.value(f"{exchange}_sum", **labels) == pytest.approx(74.34)
    call = {"dependency": "redis", "operation": "read"}
    assert metrics.value("dependency_call_duration_seconds_bucket", **call, le="0.0025") == 1
    assert metrics.value("dependency_call_duration_seconds_bucket", **call, le="0.001") == 0


def test_tokens_in_memory_are_read_at_each_scrape(metrics: SinkWithRegistry) -> None:
    """The gauge of tokens shows the current memory, with a zero for a state without tokens."""
    counts = {"fresh": 3, "aging": 1}
    metrics.sink.gauge("tokens", lambda: counts)
    states = ("fresh", "aging", "expired")
    assert [metrics.value("tokens", state=state) for state in states] == [3, 1, 0]
    counts.clear()
    counts["expired"] = 2
    assert [metrics.value("tokens", state=state) for state in states] == [0, 0, 2]


def test_policy_and_version_are_exported(metrics: SinkWithRegistry) -> None:
    """The load time of the policy in force and the running version are gauges."""
    metrics.emit(events.PolicyLoaded(NOW - 5, "0123"), events.PolicyLoaded(NOW, "4567"))
    assert metrics.value("policy_loaded_timestamp_seconds") == NOW
    assert metrics.value("policy_info", version="4567") == 1
    assert metrics.value("policy_info", version="0123") is None
    assert metrics.value("build_info", version="1.2.3") == 1


def test_a_refused_policy_is_stale_until_one_is_loaded(metrics: SinkWithRegistry) -> None:
    """The gauge is 1 from a refusal until a policy comes into force, and 0 at the start."""
    assert metrics.value("policy_stale") == 0
    metrics.emit(events.PolicyRefused(NOW, "version: must be 1"))
    assert metrics.value("policy_stale") == 1
    metrics.emit(events.PolicyLoaded(NOW, "4567"))
    assert metrics.value("policy_stale") == 0


@pytest.mark.parametrize(("outcome", "up"), [
    ("ok", 1), ("credential_not_found", 1), ("credential_misconfigured", 1), ("credential_rejected", 1),
    ("vault_unavailable", 0), ("ims_unavailable", 0), ("bad_upstream_response", 0), ("timeout", 0), ("skipped", 0),
])  # fmt: skip
def test_a_dependency_is_up_while_it_answers(metrics: SinkWithRegistry, outcome: str, up: int) -> None:
    """The last call decides; a refusal is an answer, too, and a cancelled call changes nothing."""
    assert metrics.value("dependency_up", dependency="ims") is None
    other = "ok" if not up else "ims_unavailable"
    metrics.emit(events.DependencyCalled("ims", "exchange", other, 0.1))
    metrics.emit(events.DependencyCalled("ims", "exchange", outcome, 0.1))
    assert metrics.value("dependency_up", dependency="ims") == up
    metrics.emit(events.DependencyCalled("ims", "exchange", "cancelled", 0.1))
    metrics.emit(events.DependencyCalled("redis", "read", other, 0.1))
    assert metrics.value("dependency_up", dependency="ims") == up


def test_the_clock_difference_is_exported_once_it_is_known(metrics: SinkWithRegistry) -> None:
    """The clock difference is NaN before the first exchange, and then the one that the last exchange measured."""
    assert math.isnan(metrics.value("clock_skew_seconds") or 0)
    metrics.emit(events.ClockCompared(31.5), events.ClockCompared(-2.25))
    assert metrics.value("clock_skew_seconds") == -2.25


def test_a_gauge_that_fails_does_not_affect_the_others(metrics: SinkWithRegistry) -> None:
    """A scrape continues after a failure: it is counted, the gauge keeps its value, and the others are read."""

    def fails() -> Never:
        raise RuntimeError("canary")

    metrics.sink.gauge("flights", lambda: 2)
    assert metrics.value("flights") == 2
    for asked in ASKED:
        metrics.sink.gauge(asked.name, fails)
    metrics.sink.gauge("requests_waiting", lambda: 9)
    assert b"canary" not in metrics.sink.render()
    failed = metrics.registry.get_sample_value("ims_token_broker_task_failures_total", {"task": "metrics"})
    assert failed == len(ASKED) - 1
    assert (metrics.value("flights"), metrics.value("requests_waiting")) == (2, 9)


def test_gauges_are_read_at_each_scrape(metrics: SinkWithRegistry) -> None:
    """Gauges are read when Prometheus scrapes, each from its own source."""
    assert metrics.value("flights") == metrics.value("requests_waiting") == 0
    assert [metrics.value("breaker_open", dependency=name) for name in ("redis", "vault", "ims")] == [0, 0, 0]
    assert math.isnan(metrics.value("vault_token_remaining_seconds") or 0)
    metrics.sink.gauge("flights", lambda: 2)
    metrics.sink.gauge("requests_waiting", lambda: 9)
    metrics.sink.gauge("breaker_open", lambda: {"redis": False, "vault": True, "ims": False})
    metrics.sink.gauge("vault_token_remaining_seconds", lambda: 1800.0)
    metrics.sink.gauge("tokens_unrefreshed", lambda: {"1h": 1, "6h": 4})
    assert [metrics.value(name) for name in ("flights", "requests_waiting")] == [2, 9]
    assert [metrics.value("breaker_open", dependency=name) for name in ("redis", "vault", "ims")] == [0, 1, 0]
    assert metrics.value("vault_token_remaining_seconds") == 1800
    assert [metrics.value("tokens_unrefreshed", within=within) for within in ("1h", "6h")] == [1, 4]


def test_a_gauge_that_is_not_declared_stops_the_start(metrics: SinkWithRegistry) -> None:
    """A source for an undeclared metric is a programming error, and is refused by name."""
    with pytest.raises(KeyError, match="flight_count"):
        metrics.sink.gauge("flight_count", lambda: 1)


def test_every_metric_is_declared_once(metrics: SinkWithRegistry) -> None:
    """The exported metrics are the declared ones: the same names, labels and help texts."""
    text = metrics.sink.render().decode()
    names = [declared.name for declared in metrics.sink.declared]
    assert len(set(names)) == len(names)
    exported = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert set(names) == {name for name in exported if not name.startswith("process_")}
    for declared in metrics.sink.declared:
        assert f"# HELP {declared.name} {declared.text}\n" in text


def test_counters_used_by_alerts_begin_at_zero(metrics: SinkWithRegistry) -> None:
    """The first rejection by IMS and the first foreign record are increases, because Prometheus saw a 0 before."""
    for kind in CredentialKind:
        assert metrics.value("exchanges_total", kind=kind.value, outcome="credential_rejected") == 0
    for reason in ("integrity", "version", "contradiction"):
        assert metrics.value("cache_records_refused_total", reason=reason) == 0


def test_the_process_is_measured_and_no_creation_time_is_exported(metrics: SinkWithRegistry) -> None:
    """The process's memory and CPU time are exported, and no `_created` series."""
    metrics.emit(*decided(vended()), events.ExchangeFinished(REF, "jwt", "issued", 0.3))
    names = set(metrics.series())
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"} <= names
    assert not [name for name in names if name.endswith("_created")]


def test_certificates_that_end_soon_are_counted(metrics: SinkWithRegistry) -> None:
    """A certificate counts from 30 and from 3 days before its expiry and after it, until a later one is seen."""

    def expiring() -> list[float | None]:
        return [metrics.value("certificates_expiring", within=within) for within in ("3d", "30d")]

    assert expiring() == [0, 0]
    for number, days in enumerate((-1.0, 2.9, 3.1, 29.0, 31.0)):
        metrics.emit(events.CertificateSeen(CredentialRef(OrgId(f"org-{number}")), NOW + days * DAY))
    assert expiring() == [2, 4]
    metrics.clock.advance(1.5 * DAY)
    assert expiring() == [3, 5]
    metrics.emit(events.CertificateSeen(CredentialRef(OrgId("org-0")), NOW + 365 * DAY))
    assert expiring() == [2, 4]


def test_the_counter_of_lost_audit_lines_never_decreases(metrics: SinkWithRegistry) -> None:
    """The counter follows the number of lines that the audit log lost, and does not change if that number falls."""
    assert metrics.value("audit_lines_lost_total") == 0
    lost = iter((4, 4, 7, 2, 2, 3))
    metrics.sink.gauge("audit_lines_lost", lambda: next(lost))
    assert [metrics.value("audit_lines_lost_total") for _ in range(6)] == [4, 4, 7, 7, 7, 8]
    metrics.sink.gauge("audit_lines_lost", lambda: 3)
    metrics.sink.gauge("log_lines_lost", lambda: 2)
    assert metrics.value("log_lines_lost_total") == 2
    assert metrics.value("audit_lines_lost_total") == 8


def test_spans_lost_are_counted(metrics: SinkWithRegistry) -> None:
    """Lost spans are counted once each, whenever the counter is read."""
    lost = iter((2, 2, 5))
    assert metrics.value("spans_lost_total") == 0
    metrics.sink.gauge("spans_lost", lambda: next(lost))
    assert [metrics.value("spans_lost_total") for _ in range(3)] == [2, 2, 5]


def test_no_label_contains_a_secret_or_an_id(metrics: SinkWithRegistry) -> None:
    """No label of any event's series contains an org, a request id, an id of IMS, a scope, a token or a reason."""
    mark = "canary"
    ref = CredentialRef(OrgId(mark), CredentialName(mark))
    token = {"scope": mark, "generation": mark, "token_sha256": mark}
    metrics.emit(
        events.RequestDecided(NOW, mark, Decision("/token", "vend", "vended", "c", mark, mark, **token)),  # type: ignore[arg-type]  # there is no tier among them
        events.RequestDecided(NOW, mark, Decision("/token", "vend", "forbidden", "c", mark, mark, mark)),
        events.ExchangeFinished(ref, "jwt", "credential_rejected", 1.0, mark, mark),
        events.CacheRecordRefused(make_key(OrgId(mark), mark, mark), "version"),
        events.PolicyLoaded(NOW, "0123456789ab"),  # The digits of a hash are no secret, and label one series.
        events.PolicyRefused(NOW, mark),
        events.CredentialPurged(NOW, ref, 1, "local"),
        events.CertificateSeen(ref, NOW),
        events.RefreshFailed(ref, "overloaded", "full"),
        events.TaskFailed("policy-reload", mark),
    )
    assert mark not in metrics.sink.render().decode()
    assert metrics.value("tokens_vended_total", caller="c", tier="") == 1


@pytest.mark.parametrize(("is_shared", "remembered"), [(True, 25_000), (False, 10)])
def test_series_and_memory_stay_bounded(metrics: SinkWithRegistry, is_shared: bool, remembered: int) -> None:
    """A hundred thousand different decisions are all counted, in no more series than callers times tiers.

    Decisions that no other request shares are not remembered at all.
    """
    alive: weakref.WeakSet[Decision] = weakref.WeakSet()
    first = vended()

    def decide(number: int) -> None:
        decision = replace(vended(("journey", "export")[number % 2], org=f"org-{number}"), is_shared=is_shared)
        alive.add(decision)
        metrics.emit(*decided(decision), *decided(first))

    before = sum(map(len, metrics.series().values()))
    for number in range(100_000):
        decide(number)
    assert len(alive) < remembered
    assert metrics.value("tokens_vended_total", caller="export", tier="memory") == 50_000
    assert metrics.value("tokens_vended_total", caller="journey", tier="memory") == 150_000
    assert sum(map(len, metrics.series().values())) - before <= 6


def test_the_number_of_remembered_certificates_is_bounded(metrics: SinkWithRegistry) -> None:
    """Of very many certificates, the most recently seen ones are remembered."""

    def see(days: float, *numbers: int) -> float | None:
        for number in numbers:
            metrics.emit(events.CertificateSeen(CredentialRef(OrgId(f"org-{number}")), NOW + days * DAY))
        return metrics.value("certificates_expiring", within="3d")

    assert see(1, *range(30_000)) == 20_000
    assert see(365, 10_000) == 19_999
    assert see(1, 30_000) == 19_999
    assert see(365, *range(20_000, 30_000)) == 9_999


def test_two_sinks_share_nothing(metrics: SinkWithRegistry) -> None:
    """The counts of one application are not in the metrics of another."""
    other = SinkWithRegistry()
    metrics.emit(*decided(vended()), events.CertificateSeen(REF, NOW), events.PolicyRefused(NOW, "x"))
    metrics.sink.gauge("audit_lines_lost", lambda: 3)
    metrics.sink.gauge("tokens", lambda: {"fresh": 3})
    assert other.value("tokens_vended_total", caller="journey", tier="memory") is None
    assert other.value("certificates_expiring", within="3d") == 0
    assert other.value("policy_refusals_total") == 0
    assert other.value("audit_lines_lost_total") == 0
    assert other.value("tokens", state="fresh") == 0


def test_the_format_is_prometheus(metrics: SinkWithRegistry) -> None:
    """The output is the Prometheus text format; every metric has a help text, and the last line ends with a newline."""
    text = metrics.sink.render().decode()
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert all(f"# HELP {name} " in text for name in names)
    assert text.endswith("\n")


def test_a_key_ring_says_when_it_was_loaded() -> None:
    """The metric of the key ring is 0 until one is in force, and then the time at which it was loaded."""
    metrics = SinkWithRegistry()
    name = "key_ring_loaded_timestamp_seconds"
    before = metrics.value(name)
    metrics.emit(events.KeyRingLoaded(NOW + 3, "k2", ("k2", "k1")))
    assert (before, metrics.value(name)) == (0, NOW + 3)
