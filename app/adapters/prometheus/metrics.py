"""The metrics that events change. Labels are names of the policy and constants of the code.

What is asked for at a scrape is declared in `app.adapters.prometheus.gauges`.
"""

from __future__ import annotations

from app.adapters.prometheus.declared import Declarations

_EXCHANGE_BUCKETS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15)
_CALL_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics by name, each declared once; the README's table is generated from these texts.

    Args:
        declare: Where they are made.

    """

    def __init__(self, declare: Declarations) -> None:
        counter, gauge, histogram = declare.counter, declare.gauge, declare.histogram
        self.requests = counter(
            "requests",
            "Requests decided: all except those for operators, unknown paths and methods.",
            "endpoint",
            "outcome",
        )
        self.tokens_vended = counter("tokens_vended", "Tokens returned, by where they came from.", "caller", "tier")
        self.requests_refused = counter("requests_refused", "Requests refused.", "endpoint", "code", "caller")
        self.authentication_failures = counter(
            "authentication_failures",
            "Caller credentials refused, by reason; docs/audit.md lists the reasons.",
            "reason",
        )
        self.audit_rule_matches = counter(
            "audit_rule_matches", "Requests refused that a rule with mode: audit would have allowed.", "caller"
        )
        self.exchanges = counter("exchanges", "Exchanges with IMS.", "kind", "outcome")
        self.exchange_duration = histogram(
            "exchange_duration_seconds", "Duration of exchanges with IMS.", _EXCHANGE_BUCKETS, "kind", "outcome"
        )
        self.cache_lookups = counter(
            "cache_lookups", "Lookups by requests without a prepared response.", "tier", "outcome"
        )
        self.cache_records_refused = counter(
            "cache_records_refused", "Records of the shared cache that were not trusted.", "reason"
        )
        self.dependency_calls = counter(
            "dependency_calls", "Calls to dependencies.", "dependency", "operation", "outcome"
        )
        self.dependency_call_duration = histogram(
            "dependency_call_duration_seconds",
            "Duration of calls to dependencies.",
            _CALL_BUCKETS,
            "dependency",
            "operation",
        )
        self.dependency_up = gauge(
            "dependency_up",
            "1 if the last call to a dependency succeeded or was properly answered, else 0.",
            "dependency",
        )
        self.purges = counter(
            "purges", "Credentials purged, by whether this replica or another received the request.", "origin"
        )
        self.refresh_failures = counter(
            "refresh_failures", "Background refreshes that failed while the token was still valid.", "code"
        )
        self.task_failures = counter(
            "task_failures",
            "Background tasks that failed and were restarted; task metrics: values that failed at a scrape.",
            "task",
        )
        self.policy_refusals = counter("policy_refusals", "Policy files refused; the last good one stayed in force.")
        self.policy_loaded = gauge("policy_loaded_timestamp_seconds", "When the policy in force was loaded.")
        self.policy_info = gauge(
            "policy_info", "Always 1; the label is the version of the policy in force, as in the log.", "version"
        )
        self.policy_stale = gauge("policy_stale", "1 while the policy file is refused and an older one is in force.")
        self.key_ring_refusals = counter(
            "key_ring_refusals", "Changed key rings that were refused; the last good one stayed in force."
        )
        self.key_ring_loaded = gauge(
            "key_ring_loaded_timestamp_seconds", "When the key ring in force was loaded; 0 without Redis."
        )
        self.tls_refusals = counter(
            "tls_refusals", "Renewals of the broker's own certificate that were refused; the last good one stayed."
        )
        self.certificates_expiring = gauge(
            "certificates_expiring", "Certificates seen by this replica that expire soon or have expired.", "within"
        )
        self.clock_skew = gauge(
            "clock_skew_seconds",
            "How far this clock is ahead of that of IMS (its Date header, to a second); NaN before the first exchange.",
        )
        self.build_info = gauge("build_info", "Always 1; the label is the running version.", "version")
