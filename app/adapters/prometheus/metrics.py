"""All metrics: names, help texts, labels and buckets. Labels are names of the policy and constants of the code."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREFIX = "ims_token_broker"
_EXCHANGE_BUCKETS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15)
_CALL_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Metrics:
    """All metrics, by field name; the exported names carry the prefix."""

    tokens_vended: Counter
    requests_refused: Counter
    requests: Counter
    exchanges: Counter
    exchange_duration: Histogram
    cache_lookups: Counter
    cache_records_refused: Counter
    dependency_calls: Counter
    dependency_call_duration: Histogram
    policy_loaded: Gauge
    policy_refusals: Counter
    tls_refusals: Counter
    purges: Counter
    certificates_expiring: Gauge
    refresh_failures: Counter
    task_failures: Counter
    tokens: Gauge
    tokens_unrefreshed: Gauge
    flights: Gauge
    requests_waiting: Gauge
    dependency_up: Gauge
    redis_breaker_open: Gauge
    vault_token_remaining: Gauge
    clock_skew: Gauge
    policy_stale: Gauge
    audit_lines_lost: Counter
    log_lines_lost: Counter
    spans_lost: Counter
    build_info: Gauge


def metrics_in(registry: CollectorRegistry) -> Metrics:
    """All metrics, made in `registry`."""

    def counter(name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=registry)

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=registry)

    def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, labels, buckets=buckets, registry=registry)

    return Metrics(
        tokens_vended=counter("tokens_vended", "Tokens answered, by where they came from.", "caller", "tier"),
        requests_refused=counter("requests_refused", "Requests answered with an error.", "endpoint", "code", "caller"),
        requests=counter("requests", "Requests decided.", "endpoint", "outcome"),
        exchanges=counter("exchanges", "Exchanges with IMS.", "kind", "outcome"),
        exchange_duration=histogram(
            "exchange_duration_seconds", "Duration of exchanges with IMS.", _EXCHANGE_BUCKETS, "kind", "outcome"
        ),
        cache_lookups=counter("cache_lookups", "Lookups of the long way, by tier.", "tier", "outcome"),
        cache_records_refused=counter("cache_records_refused", "Shared records that were not trusted.", "reason"),
        dependency_calls=counter("dependency_calls", "Calls of outside systems.", "dependency", "operation", "outcome"),
        dependency_call_duration=histogram(
            "dependency_call_duration_seconds",
            "Duration of calls of outside systems.",
            _CALL_BUCKETS,
            "dependency",
            "operation",
        ),
        policy_loaded=gauge("policy_loaded_timestamp_seconds", "When the policy in force was loaded."),
        policy_refusals=counter("policy_refusals", "Policy files refused; the last good one stayed in force."),
        tls_refusals=counter("tls_refusals", "Renewals of the own certificate refused; the last good one stayed."),
        purges=counter("purges", "Purges, by whether this replica was asked or another.", "origin"),
        certificates_expiring=gauge("certificates_expiring", "Certificates that expire soon, or have.", "within"),
        refresh_failures=counter("refresh_failures", "Refreshes that failed behind a token still good.", "code"),
        task_failures=counter("task_failures", "Background tasks that were restarted after an error.", "task"),
        tokens=gauge("tokens", "Tokens in this replica's memory.", "state"),
        tokens_unrefreshed=gauge(
            "tokens_unrefreshed", "Tokens whose last refresh failed and that end soon, by how soon.", "within"
        ),
        flights=gauge("flights", "Tokens being looked for or minted now."),
        requests_waiting=gauge("requests_waiting", "Requests that wait for a token that is being looked for."),
        dependency_up=gauge(
            "dependency_up", "1 where the last call of an outside system did what it should, 0 where not.", "dependency"
        ),
        redis_breaker_open=gauge("redis_breaker_open", "1 while Redis is spared calls, because it does not answer."),
        vault_token_remaining=gauge("vault_token_remaining_seconds", "Life left of the broker's own token at Vault."),
        clock_skew=gauge("clock_skew_seconds", "How far this clock is ahead of that of IMS; NaN before an exchange."),
        policy_stale=gauge("policy_stale", "1 while the policy file is refused and an older policy is in force."),
        audit_lines_lost=counter("audit_lines_lost", "Audit lines that could not be written."),
        log_lines_lost=counter("log_lines_lost", "Lines of the log that could not be written."),
        spans_lost=counter("spans_lost", "Spans that the collector did not take."),
        build_info=gauge("build_info", "Always 1; the label tells the version.", "version"),
    )
