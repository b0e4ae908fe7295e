"""What must hold for every rendering of the chart; each check raises `AssertionError` with the object's name.

The schemas of Kubernetes know shapes only. These know what belongs together: selectors and labels, mounts and volumes,
ports by name; and the restricted Pod Security profile, written out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema import Draft7Validator

from tests.support.chart import Manifest

OLDEST, NEWEST = "1.30", "1.37"
"""The minors of Kubernetes between which the chart is held."""

SCHEMAS = Path(__file__).resolve().parents[1] / "chart" / "schemas"
CUSTOM = {path.stem: Draft7Validator(json.loads(path.read_text())) for path in sorted(SCHEMAS.glob("*.json"))}
"""Small closed schemas of the custom resources that the chart can make, by kind."""

FROM_A_USER = {"SecretProviderClass"}
"""Kinds in `extraObjects` of ci files that the chart does not know."""

VOLUME_KINDS = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
"""Kinds of volume that the restricted profile allows."""


def check(manifests: list[Manifest], *, restricted: bool = True) -> None:
    """All of them."""
    for manifest in manifests:
        check_shape(manifest)
        check_names(manifest)
    check_each_once(manifests)
    check_selectors(manifests)
    check_references(manifests)
    for name, spec in pods(manifests):
        check_pod(name, spec)
        if restricted:
            check_restricted(name, spec)
    check_no_secrets(manifests)


def check_shape(manifest: Manifest) -> None:
    """Every field exists and has the right type, in the oldest and the newest Kubernetes."""
    kind = manifest["kind"]
    if kind in FROM_A_USER:
        return
    if kind in CUSTOM:
        errors = [f"{error.json_path}: {error.message}" for error in CUSTOM[kind].iter_errors(manifest)]
        assert not errors, f"{_named(manifest)}: {errors}"
        return
    text = json.dumps(manifest, sort_keys=True)
    for minor in (OLDEST, NEWEST):
        told = _defect(text, minor)
        assert not told, f"{_named(manifest)} in {minor}: {told}"


@cache
def _defect(text: str, minor: str) -> str:
    """What is wrong with an object of Kubernetes' own; of many renderings, most objects are the same."""
    try:
        kubernetes_validate.validate(json.loads(text), minor, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return f"{type(error).__name__} {error}"
    return ""


def check_names(manifest: Manifest) -> None:
    """A name and its labels are short enough, and every object has the labels by which a release is found."""
    metadata = manifest["metadata"]
    assert 0 < len(metadata["name"]) <= (253 if manifest["kind"].startswith("Cluster") else 63), metadata["name"]
    for key, value in {**metadata.get("labels", {}), **metadata.get("annotations", {})}.items():
        assert isinstance(value, str), f"{_named(manifest)}: {key} is not text"
    assert all(len(value) <= 63 for value in metadata.get("labels", {}).values()), _named(manifest)
    if "helm.sh/chart" in metadata.get("labels", {}):
        known = {"name", "instance", "version", "managed-by", "component", "part-of"}
        assert {f"app.kubernetes.io/{label}" for label in known} <= metadata["labels"].keys(), _named(manifest)


def check_each_once(manifests: list[Manifest]) -> None:
    """No two objects have the same kind, namespace and name."""
    keys = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in manifests]
    assert len(keys) == len(set(keys)), keys


def check_selectors(manifests: list[Manifest]) -> None:
    """What selects the broker's pods selects them, and not the pods of checks and tests."""
    [deployment] = [one for one in manifests if one["kind"] == "Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    others = [one["metadata"]["labels"] for one in manifests if one["kind"] == "Pod"]
    others += [one["spec"]["template"]["metadata"]["labels"] for one in manifests if one["kind"] == "Job"]
    scheduled = [_job_of(one)["template"]["metadata"]["labels"] for one in manifests if one["kind"] == "CronJob"]
    rotation = [one for one in scheduled if one["app.kubernetes.io/component"] == "rotation"]
    selectors = list(_selectors(manifests))
    for name, selector in selectors:
        if selector["app.kubernetes.io/component"] == "rotation":
            assert [selector.items() <= other.items() for other in rotation] == [True], f"{name} selects no pods"
            continue
        assert selector.items() <= labels.items(), f"{name} does not select the pods"
        assert not any(selector.items() <= other.items() for other in scheduled), f"{name} selects too much"
        assert not any(selector.items() <= other.items() for other in others), f"{name} selects too much"
    for one in manifests:
        if one["kind"] == "ServiceMonitor":
            [service] = [other for other in manifests if other["kind"] == "Service"]
            assert one["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        if one["kind"] == "HorizontalPodAutoscaler":
            assert one["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
            assert "replicas" not in deployment["spec"]
    assert {"Deployment", "Service"} <= {name.partition(" ")[0] for name, _ in selectors}


def _selectors(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, str]]]:
    for one in manifests:
        match one["kind"]:
            case "Deployment" | "PodDisruptionBudget":
                yield _named(one), one["spec"]["selector"]["matchLabels"]
            case "NetworkPolicy":
                yield _named(one), one["spec"]["podSelector"]["matchLabels"]
            case "Service":
                yield _named(one), one["spec"]["selector"]
            case _:
                pass


def check_references(manifests: list[Manifest]) -> None:
    """Ports are named where they are used, and what an object names of this chart's is made by it."""
    [deployment] = [one for one in manifests if one["kind"] == "Deployment"]
    [service] = [one for one in manifests if one["kind"] == "Service"]
    [broker] = [c for c in deployment["spec"]["template"]["spec"]["containers"] if c["name"] == "broker"]
    ports = {port["name"] for port in broker["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    assert all(broker[f"{probe}Probe"]["httpGet"]["port"] in ports for probe in ("startup", "liveness", "readiness"))
    served = {port["name"] for port in service["spec"]["ports"]}
    names = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    for one in manifests:
        if one["kind"] == "ServiceMonitor":
            assert {endpoint["port"] for endpoint in one["spec"]["endpoints"]} <= served
        if one["kind"] == "Ingress":
            for rule in one["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    assert path["backend"]["service"]["port"]["name"] in served
                    assert path["backend"]["service"]["name"] == service["metadata"]["name"]
        if one["kind"] == "HTTPRoute":
            [backend] = one["spec"]["rules"][0]["backendRefs"]
            assert backend["name"] == service["metadata"]["name"]
            assert backend["port"] in {port["port"] for port in service["spec"]["ports"]}
    for source in broker["envFrom"]:
        name = source.get("configMapRef", {}).get("name", "")
        assert ("ConfigMap", name) in names or not name.endswith("-settings"), name
    used = [spec["serviceAccountName"] for _, spec in pods(manifests) if "serviceAccountName" in spec]
    made = [one["metadata"]["name"] for one in manifests if one["kind"] == "ServiceAccount"]
    assert set(made) <= set(used)


def check_pod(name: str, spec: dict[str, Any]) -> None:
    """Every mount has its volume and is used, no path is mounted twice, and no default token comes in."""
    volumes = [volume["name"] for volume in spec.get("volumes", [])]
    assert len(volumes) == len(set(volumes)), f"{name}: a volume twice"
    mounted = set()
    names = [container["name"] for container in containers(spec)]
    assert len(names) == len(set(names)), f"{name}: a container twice"
    for container in containers(spec):
        mounts = container.get("volumeMounts", [])
        paths = [mount["mountPath"] for mount in mounts]
        assert len(paths) == len(set(paths)), f"{name}: a path mounted twice"
        assert not any("subPath" in mount for mount in mounts), f"{name}: a subPath is never brought up to date"
        mounted |= {mount["name"] for mount in mounts}
    assert mounted <= set(volumes), f"{name}: {mounted - set(volumes)} mounted, but no volumes"
    assert set(volumes) <= mounted, f"{name}: {set(volumes) - mounted} are volumes, but not mounted"
    assert spec["automountServiceAccountToken"] is False, name
    assert spec["enableServiceLinks"] is False, name


def check_restricted(name: str, spec: dict[str, Any]) -> None:
    """The pod meets the restricted Pod Security profile (v1.30 and later), and a little more."""
    assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), name
    for volume in spec.get("volumes", []):
        assert volume.keys() - {"name"} <= VOLUME_KINDS, f"{name}: {volume}"
    pod = spec.get("securityContext", {})
    assert not pod.get("sysctls"), name
    for container in containers(spec):
        own, where = container.get("securityContext", {}), f"{name}/{container['name']}"
        assert own.get("privileged", False) is False, where
        assert own.get("allowPrivilegeEscalation") is False, where
        assert own.get("runAsNonRoot", pod.get("runAsNonRoot")) is True, where
        assert own.get("runAsUser", pod.get("runAsUser")) != 0, where
        assert "ALL" in own["capabilities"]["drop"], where
        assert set(own["capabilities"].get("add", [])) <= {"NET_BIND_SERVICE"}, where
        profile = own.get("seccompProfile", pod.get("seccompProfile", {}))
        assert profile.get("type") in ("RuntimeDefault", "Localhost"), where
        assert own.get("procMount", "Default") == "Default", where
        assert not any(port.get("hostPort") for port in container.get("ports", [])), where


def check_no_secrets(manifests: list[Manifest]) -> None:
    """The chart makes no Secret, and no variable of the broker comes from one."""
    assert "Secret" not in {one["kind"] for one in manifests}
    for name, spec in pods(manifests):
        for container in containers(spec):
            variables = {variable["name"] for variable in container.get("env", [])}
            # The rotation has a role of its own in Vault, which is not a secret.
            own = {"BROKER_VAULT_ROLE"} if name.startswith("CronJob") else set()
            assert not any(variable.startswith("BROKER_") for variable in variables - own), name
    for one in manifests:
        if one["kind"] == "ConfigMap" and one["metadata"]["name"].endswith("-settings"):
            secret = {"BROKER_VAULT_TOKEN", "BROKER_VAULT_SECRET_ID", "BROKER_REDIS_PASSWORD"}
            assert not secret & one["data"].keys()
            assert "@" not in one["data"].get("BROKER_REDIS_URL", "")


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod that is made, by itself or from a template: name and spec."""
    for one in manifests:
        if one["kind"] == "Pod":
            yield _named(one), one["spec"]
        elif one["kind"] in {"Deployment", "Job"}:
            yield _named(one), one["spec"]["template"]["spec"]
        elif one["kind"] == "CronJob":
            yield _named(one), _job_of(one)["template"]["spec"]


def _job_of(cron_job: Manifest) -> dict[str, Any]:
    spec: dict[str, Any] = cron_job["spec"]["jobTemplate"]["spec"]
    return spec


def containers(spec: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """All containers of a pod, those of its start too."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def _named(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"
