"""Wrong values stop the rendering and are named: wrong types, unknown keys, contradictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.main import END_SECONDS, GRACE_SECONDS, PRE_STOP_SECONDS
from tests.support.chart import ChartRefusedError, ci_values, default_values, render, schema, with_value


def refused(values: dict[str, Any]) -> str:
    """The chart's error message."""
    with pytest.raises(ChartRefusedError) as raised:
        render(values)
    return str(raised.value)


# The schema ---------------------------------------------------------------------------------------------------------


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every value of the schema, by its dotted path; the root is the empty path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}" if path else name)


NODES = dict(nodes(schema()))
CLOSED = [path for path, node in NODES.items() if node.get("additionalProperties") is False]
WRONG_TYPES = {
    "string": 7, "integer": "seven", "boolean": "yes", "object": "a text", "array": "a text",
}  # fmt: skip


def wrong_type(node: dict[str, Any]) -> object:
    """A value of a type that the node does not accept."""
    kinds = node.get("type", ["string", "integer"])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return {"object": ["a list"], "string": ["a list"]}.get(kinds[0], WRONG_TYPES[kinds[0]])


def test_the_walk_sees_the_whole_schema() -> None:
    """The lists of values that the tests below use are not empty by mistake."""
    assert len(NODES) > 200
    assert len(CLOSED) > 40


@pytest.mark.parametrize("path", [path for path in NODES if path])
def test_a_wrong_type_is_refused(path: str) -> None:
    """A value of the wrong type is refused, and the message names its path."""
    told = refused(with_value(ci_values("default"), path, wrong_type(NODES[path])))

    assert f"at '/{path.replace('.', '/')}': " in told
    assert len(told.splitlines()) <= 5, told


@pytest.mark.parametrize("path", CLOSED)
def test_an_unknown_key_is_refused(path: str) -> None:
    """An unknown key is refused at every level, and the message names the key and its path."""
    told = refused(with_value(ci_values("default"), f"{path}.mistypt".removeprefix("."), 1))

    assert f"at '{'/' if path else ''}{path.replace('.', '/')}': additional properties 'mistypt' not allowed" in told


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("image.digest", "sha256:abc"),
        ("image.tag", "a b"),
        ("image.pullPolicy", "Sometimes"),
        ("image.repository", ""),
        ("broker.port", 0),
        ("broker.port", 70000),
        ("broker.logLevel", "info"),
        ("broker.publicUrl", "broker.example.com"),
        ("vault.addr", "vault:8200"),
        ("vault.addr", "https://user:secret@vault"),
        ("vault.auth", "ldap"),
        ("vault.mount", ""),
        ("vault.prefix", "a//b"),
        ("vault.tokenExpirationSeconds", 60),
        ("vault.audience", ""),
        ("redis.hosts", ["user:secret@redis"]),
        ("redis.hosts", ["redis://redis"]),
        ("redis.hosts", ["a,b"]),
        ("redis.sentinel.primary", "my master"),
        ("redis.mode", "clustered"),
        ("redis.host", "user:secret@redis"),
        ("redis.host", "redis://redis"),
        ("redis.host", "redis:secret"),
        ("redis.prefix", "a:b"),
        ("redis.port", "6379"),
        ("redis.database", -1),
        ("ims.baseUrls", []),
        ("ims.baseUrls", ["http://ims.example.com"]),
        ("audit.file", "audit.jsonl"),
        ("tracing.exporter", "jaeger"),
        ("tracing.endpoint", "collector:4318"),
        ("tracing.samplerArg", "2"),
        ("replicaCount", 0),
        ("replicaCount", 1.5),
        ("terminationGracePeriodSeconds", 0),
        ("preStopSleepSeconds", -1),
        ("credentials.store", "s3"),
        ("credentials.directory.secrets", [{"secret": "a", "org": "stranger"}]),
        ("credentials.directory.secrets", [{"secret": "a", "org": "0123456789ABCDEF01234567@AdobeOrg", "orgg": "b"}]),
        ("tls.certManager.duration", "90 days"),
        ("service.type", "ExternalName"),
        ("strategy.type", "OnDelete"),
        ("policy.key", "a/b"),
        ("fullnameOverride", "Upper"),
        ("podDisruptionBudget.minAvailable", "half"),
        ("imagePullSecrets", ["registry"]),
        ("imagePullSecrets", [{"nam": "registry"}]),
        ("extraEnv", [{"value": "x"}]),
        ("ingress.hosts", [{"host": "a", "path": "/"}]),
        ("networkPolicy.egress.dns.ports", []),
        ("networkPolicy.ingress.from", [{}]),
        ("networkPolicy.egress.vault.to", [{}]),
        ("service.ipFamilies", ["IPv5"]),
        ("commonLabels.team", 7),
        ("metrics.serviceMonitor.interval", "often"),
        ("callers.kubernetes.tokenExpirationSeconds", 1),
    ],
)
def test_a_wrong_value_is_refused(path: str, value: object) -> None:
    """An invalid value of the right type is refused, and the message names its path."""
    told = refused(with_value(ci_values("default"), path, value))

    assert f"at '/{path.replace('.', '/')}" in told


@pytest.mark.parametrize(
    "path",
    [
        "podSecurityContext",
        "securityContext",
        "networkPolicy",
        "networkPolicy.enabled",
        "networkPolicy.ingress",
        "networkPolicy.egress",
        "networkPolicy.egress.dns",
        "networkPolicy.egress.dns.to",
        "networkPolicy.egress.dns.ports",
        "networkPolicy.egress.ims.to",
        "networkPolicy.egress.kubernetesApi.ports",
        "ims.baseUrls",
        "vault.audience",
    ],
)
def test_a_protection_cannot_be_removed_with_null(path: str) -> None:
    """Helm drops a default that is set to null; if that would weaken security, the chart refuses it by name."""
    parent, _, name = path.rpartition(".")

    assert f"at '{parent and '/'}{parent.replace('.', '/')}': missing property '{name}'" in refused(
        with_value(ci_values("default"), path, None)
    )


@pytest.mark.parametrize("mode", ["clustered"])
def test_an_unsupported_redis_mode_is_refused(mode: str) -> None:
    """The message names the supported modes."""
    assert "at '/redis/mode': value must be one of 'standalone', 'sentinel', 'cluster', 'memory'" in refused(
        with_value(ci_values("default"), "redis.mode", mode)
    )


# Contradictions -----------------------------------------------------------------------------------------------------

CERTIFICATE = {"enabled": True, "issuerRef": {"name": "internal"}}
CONTRADICTIONS: list[tuple[str, dict[str, object], str]] = [
    ("default", {"policy.inline": None}, "policy.inline is empty"),
    ("default", {"policy.existingSecret": "p"}, "policy.existingSecret and policy.inline exclude each other"),
    ("minimal", {"policy.existingSecret": "p"}, "policy.existingConfigMap and policy.existingSecret exclude"),
    ("default", {"vault.addr": ""}, "vault.addr is required with credentials.store: vault"),
    ("default", {"credentials.directory.volume": {"csi": {}}}, "credentials.directory is for"),
    ("default", {"vault.role": ""}, "vault.role is required"),
    ("approle", {"vault.roleId": ""}, "vault.roleId is required"),
    ("default", {"vault.auth": "jwt", "vault.role": ""}, "vault.role is required with vault.auth: jwt"),
    ("existing-secret", {"vault.token.existingSecret": ""}, "vault.token.existingSecret is required"),
    ("existing-secret", {"vault.token.file": "/a"}, "vault.token.existingSecret and vault.token.file exclude"),
    ("default", {"vault.token.file": "/a"}, "vault.token is for vault.auth: token, not kubernetes"),
    ("default", {"vault.roleId": "r"}, "vault.roleId and vault.secretId are for vault.auth: approle"),
    ("directory", {"credentials.directory.secrets": []}, "credentials.directory.secrets is empty"),
    ("directory", {"credentials.directory.volume": {"csi": {}}}, "credentials.directory.volume exclude each other"),
    ("directory", {"vault.addr": "https://v"}, "vault.addr is for credentials.store: vault"),
    ("default", {"redis.host": ""}, "redis.host is required with redis.mode: standalone"),
    ("default", {"cacheKeys.existingSecret": ""}, "cacheKeys.existingSecret is required with Redis"),
    ("existing-secret", {"redis.tls.enabled": False}, "redis.tls.ca is for redis.tls.enabled: true"),
    ("default", {"vault.addr": "http://vault:8200", "vault.clientCertificate.existingSecret": "c"},
     "vault.clientCertificate is for https:// only"),
    ("default", {"redis.tls.enabled": False, "redis.tls.clientCertificate.existingSecret": "c"},
     "redis.tls.clientCertificate is for redis.tls.enabled: true"),
    ("default", {"redis.username": "u"}, "redis.username needs redis.password.existingSecret"),
    ("default", {"redis.mode": "memory"}, "redis.host is for redis.mode: standalone"),
    ("redis-sentinel", {"redis.host": "r"}, "redis.host is for redis.mode: standalone, not sentinel"),
    ("redis-sentinel", {"redis.hosts": []}, "redis.hosts is required with redis.mode: sentinel"),
    ("redis-sentinel", {"redis.sentinel.primary": ""}, "redis.sentinel.primary is required with redis.mode: sentinel"),
    ("redis-sentinel", {"redis.sentinel.password.existingSecret": ""},
     "redis.sentinel.username needs redis.sentinel.password.existingSecret"),
    ("default", {"redis.hosts": ["a"]}, "redis.hosts is for redis.mode: sentinel or cluster, not standalone"),
    ("minimal", {"redis.hosts": ["a"]}, "redis.hosts is for redis.mode: sentinel or cluster, not memory"),
    ("default", {"redis.sentinel.primary": "a"}, "redis.sentinel is for redis.mode: sentinel, not standalone"),
    ("redis-cluster", {"redis.hosts": []}, "redis.hosts is required with redis.mode: cluster"),
    ("redis-cluster", {"redis.database": 1}, "a cluster has no database numbers"),
    ("redis-cluster", {"redis.sentinel.primary": "a"}, "redis.sentinel is for redis.mode: sentinel, not cluster"),
    ("minimal", {"replicaCount": 2}, "redis.mode: memory is for one replica; set replicaCount: 1"),
    ("minimal", {"autoscaling.enabled": True}, "redis.mode: memory is for one replica; set autoscaling.maxReplicas: 1"),
    ("approle", {"vault.ca.existingSecret": "a"}, "vault.ca.existingConfigMap and vault.ca.existingSecret exclude"),
    ("existing-secret", {"redis.tls.ca.existingSecret": "a"}, "redis.tls.ca.existingSecret exclude each other"),
    ("existing-secret", {"ims.ca.existingSecret": "a"}, "ims.ca.existingSecret exclude each other"),
    ("tls", {"tls.certManager": CERTIFICATE}, "tls.certManager.enabled and tls.existingSecret exclude each other"),
    ("tls", {"tls.existingSecret": ""}, "tls.existingSecret is required with tls.enabled"),
    ("cert-manager", {"tls.certManager.issuerRef.name": ""}, "tls.certManager.issuerRef.name is required"),
    ("tls", {"tls.enabled": False}, "tls.enabled is false, but a certificate is configured"),
    ("tls", {"broker.publicUrl": "http://b.example"}, "broker.publicUrl begins with http://"),
    ("default", {"callers.kubernetes.tokenReview": True}, "callers.kubernetes.tokenReview needs"),
    ("tracing", {"tracing.endpoint": ""}, "tracing.endpoint is required with tracing.exporter: otlp"),
    ("tracing", {"tracing.exporter": "off"}, "tracing.endpoint is for tracing.exporter: otlp"),
    ("default", {"audit.volume": {"emptyDir": {}}}, "audit.volume needs audit.file"),
    ("default", {"audit.file": "/tmp/AUDIT"}, "audit.file is in /tmp, which is in use"),
    ("default", {"audit.file": "/var/../etc/ims-token-broker/policy/a"}, "audit.file is in /etc/ims-token-broker"),
    ("default", {"audit.file": "/etc/ims-token-broker/policy/a"}, "audit.file is in /etc/ims-token-broker"),
    ("ha", {"autoscaling.minReplicas": 50}, "autoscaling.minReplicas is greater than autoscaling.maxReplicas"),
    ("default", {"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": 0}}, "autoscaling.enabled needs a"),
    ("ha", {"podDisruptionBudget.maxUnavailable": 1}, "podDisruptionBudget.maxUnavailable exclude each other"),
    ("default", {"podDisruptionBudget.minAvailable": 3}, "podDisruptionBudget.minAvailable must be less than the 3"),
    ("default", {"podDisruptionBudget.maxUnavailable": 0}, "podDisruptionBudget allows no eviction"),
    ("default", {"podDisruptionBudget.minAvailable": "100%"}, "podDisruptionBudget allows no eviction"),
    ("default", {"terminationGracePeriodSeconds": 30}, "terminationGracePeriodSeconds must be at least 43"),
    ("default", {"preStopSleepSeconds": 60}, "terminationGracePeriodSeconds must be at least 98"),
    ("default", {"serviceAccount.create": False}, "serviceAccount.name is required"),
    ("rotation", {"secretRotation.serviceAccount.create": False}, "secretRotation.serviceAccount.name is required"),
    ("probe", {"probe.org": ""}, "probe.org and probe.existingSecret are required"),
    ("probe", {"probe.existingSecret": ""}, "probe.org and probe.existingSecret are required"),
    ("approle", {"secretRotation.enabled": True}, "secretRotation.enabled needs vault.auth: kubernetes or jwt"),
    ("default", {"ingress.enabled": True}, "ingress.hosts is required"),
    ("default", {"httpRoute.enabled": True}, "httpRoute.parentRefs is required"),
    ("default", {"extraEnv": [{"name": "BROKER_VAULT_TOKEN", "value": "x"}]}, "extraEnv[0].name is BROKER_VAULT_TOKEN"),
    ("default", {"extraEnv": [{"name": '{{ "BROKER" }}_X', "value": "x"}]}, "extraEnv[0].name is BROKER_X"),
    ("default", {"policy.inline.callers": [{"name": "itb_a1_0123456789abcdef"}]}, "policy.inline holds an API key"),
    ("default", {"policy.inline": '{{ "itb_a1_" }}0123456789abcdef'}, "policy.inline holds an API key, and"),
]  # fmt: skip


@pytest.mark.parametrize(("base", "changes", "expected"), CONTRADICTIONS, ids=[case[2] for case in CONTRADICTIONS])
def test_a_contradiction_is_refused(base: str, changes: dict[str, object], expected: str) -> None:
    """Contradictory values are refused in one sentence that names them and says what to do."""
    values = ci_values(base)
    render(values)
    for path, value in changes.items():
        values = with_value(values, path, value)
    told = refused(values)
    sentence = told.partition(": ")[2]

    assert expected in sentence
    assert "\n" not in told
    assert sentence.endswith(".")
    assert len(sentence) < 250


def test_the_same_document_twice_is_refused() -> None:
    """Two Secrets for one org and credential are refused."""
    secret = {"secret": "a", "org": "0123456789ABCDEF01234567@AdobeOrg"}
    values = with_value(ci_values("directory"), "credentials.directory.secrets", [secret, secret | {"secret": "b"}])

    assert "names 0123456789ABCDEF01234567@AdobeOrg/default twice" in refused(values)


@pytest.mark.parametrize("sleep", [0, 5, 300])
def test_the_grace_period_covers_the_deadlines_of_the_code(sleep: int) -> None:
    """The shortest accepted grace period is the sleep plus the time that the code needs from SIGTERM to its exit."""
    least = sleep + END_SECONDS
    values = with_value(ci_values("default"), "preStopSleepSeconds", sleep)
    render(with_value(values, "terminationGracePeriodSeconds", least))

    assert f"must be at least {least} " in refused(with_value(values, "terminationGracePeriodSeconds", least - 1))


def test_the_defaults_match_the_code() -> None:
    """The chart's default sleep is the one that the code assumes, and its grace period is long enough for both."""
    values = default_values()

    assert values["preStopSleepSeconds"] == PRE_STOP_SECONDS
    assert values["terminationGracePeriodSeconds"] >= GRACE_SECONDS
