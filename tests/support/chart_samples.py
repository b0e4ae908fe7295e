"""Random valid values for the chart, the same for the same seed.

A sample begins with a ci file and changes some values at random. What the chart then refuses as a contradiction is kept
apart, so that the refusals are seen as well.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.chart import ChartRefusedError, Manifest, ci_files, ci_values, render, schema, with_value

CHANGES = 6
"""Values changed per sample."""

FREE: dict[str, list[Any]] = {
    "affinity": [{"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}],
    "commonLabels": [{"team": "identity", "app.kubernetes.io/name": "mine"}],
    "commonAnnotations": [{"owner": "{{ .Release.Name }}"}],
    "podLabels": [{"team": "{{ .Release.Name }}"}, {"app.kubernetes.io/instance": "mine"}],
    "podAnnotations": [{"one": "{{ .Values.broker.port }}"}],
    "nameOverride": ["a" * 63, "short"],
    "fullnameOverride": ["b" * 63, "tokens"],
    "namespaceOverride": ["elsewhere"],
    "broker.host": ["::", "127.0.0.1"],
    "broker.publicUrl": ["https://broker.example.com", "https://[2001:db8::1]:8443/"],
    "credentials.directory.volume": [{"csi": {"driver": "secrets-store.csi.k8s.io"}}],
    "vault.addr": ["http://vault:8200", "https://[2001:db8::1]", "https://vault.example.com/"],
    "vault.roleId": ["role-id"],
    "vault.token.file": ["/vault/secrets/token"],
    "vault.namespace": ["team/identity"],
    "kms.region": ["eu-central-1", "us-gov-west-1"],
    "redis.host": ["2001:db8::2", "redis"],
    "redis.hosts": [["a.example.com:26379", "[2001:db8::2]:26379", "c"]],
    "redis.sentinel.primary": ["tokens"],
    "redis.sentinel.username": ["token-broker"],
    "redis.username": ["token-broker"],
    "ims.baseUrls": [["https://ims-na1.adobelogin.com", "http://127.0.0.1:9000"]],
    "audit.file": ["/var/log/broker/audit.jsonl"],
    "audit.volume": [{"persistentVolumeClaim": {"claimName": "audit"}}],
    "tracing.endpoint": ["https://collector.example.com/otlp", "http://collector:4318"],
    "tracing.resourceAttributes": [{"service.version": "7"}],
    "strategy": [{"type": "Recreate", "rollingUpdate": None}],
    "autoscaling.metrics": [
        [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Value", "value": "1"}}}]
    ],
    "podDisruptionBudget.minAvailable": [1, "50%"],
    "podDisruptionBudget.maxUnavailable": [2, "25%"],
    "resources": [{}, {"limits": {"memory": "1Gi"}}],
    "nodeSelector": [{"kubernetes.io/arch": "arm64"}],
    "tolerations": [[{"operator": "Exists"}]],
    "dnsConfig": [{"options": [{"name": "ndots", "value": "1"}]}],
    "extraArgs": [["--help"]],
    "secretRotation.schedule": ["@daily", "0 4 * * MON-FRI"],
    "secretRotation.olderThan": ["30d"],
    "secretRotation.quietFor": ["90m"],
    "secretRotation.jitter": ["0s"],
    "secretRotation.vaultRole": ["rotation"],
    "secretRotation.extraArgs": [["--wait"]],
    "probe.schedule": ["*/2 * * * *"],
    "probe.org": ["0123456789ABCDEF01234567@AdobeOrg"],
    "probe.deniedOrg": ["FEDCBA9876543210FEDCBA98@AdobeOrg"],
    "service.port": [8443, 80],
    "service.ipFamilies": [["IPv6"], ["IPv4", "IPv6"]],
    "ingress.hosts": [[{"host": "{{ .Release.Name }}.example.com"}]],
    "httpRoute.parentRefs": [[{"name": "gateway"}]],
    "metrics.prometheusRule.extraGroups": [[{"name": "mine", "rules": [{"record": "a:b", "expr": "1"}]}]],
    "networkPolicy.ingress.from": [[{"namespaceSelector": {}}]],
    "networkPolicy.egress.vault.to": [[{"ipBlock": {"cidr": "192.0.2.0/24"}}]],
    "image.digest": ["sha256:" + "a" * 64],
    "image.tag": ["1.2.3-rc.1"],
}
"""Values for what has no type of a few values."""

PLAIN_NAMES = ("existingSecret", "existingConfigMap", "priorityClassName", "runtimeClassName", "className", "name")


@dataclass
class Samples:
    """What came of a seed.

    Args:
        valid: Values that the chart takes, and what it makes of them.
        refused: What it said where values contradicted each other.

    """

    valid: list[tuple[dict[str, Any], list[Manifest]]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def samples(number: int, seed: int) -> Samples:
    """So many valid values."""
    chance, made = random.Random(seed), Samples()
    bases = [ci_values(path.name.removesuffix("-values.yaml")) for path in ci_files()]
    choices = list(choices_of(schema()))
    while len(made.valid) < number:
        values = chance.choice(bases)
        for path, options in chance.sample(choices, CHANGES):
            values = with_value(values, path, chance.choice(options))
        try:
            made.valid.append((values, render(values)))
        except ChartRefusedError as error:
            made.refused.append(str(error))
    return made


def choices_of(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Paths of values with what they may be."""
    for name, child in node.get("properties", {}).items():
        at = f"{path}.{name}" if path else name
        kind = child.get("type")
        if at in FREE:
            yield at, FREE[at]
        elif "enum" in child:
            yield at, child["enum"]
        elif kind == "boolean":
            yield at, [True, False]
        elif kind == ["boolean", "null"]:
            yield at, [True, False, None]
        elif kind == "integer":
            yield at, [child["minimum"], child["maximum"], child["minimum"] + 1, child["maximum"] // 2 + 1]
        elif name in PLAIN_NAMES and kind == "string":
            yield at, ["some-name", ""]
        elif kind == "object":
            yield from choices_of(child, at)
