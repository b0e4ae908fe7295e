"""What the chart renders: each ci file and a random sample, checked against Kubernetes schemas and our rules."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.chart import RELEASE, Manifest, ci_files, ci_values, render, render_texts, the
from tests.support.chart_checks import CUSTOM, NEWEST, OLDEST, check, check_restricted, check_shape, containers, pods
from tests.support.chart_samples import Samples, samples

SAMPLES, SEED = 220, 20261124
NAMES = [path.name.removesuffix("-values.yaml") for path in ci_files()]
COMPLETE = {
    "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Ingress", "Job",
    "NetworkPolicy", "Pod", "PodDisruptionBudget", "Service", "ServiceAccount", *CUSTOM,
}  # fmt: skip


@pytest.fixture(scope="module")
def sampled() -> Samples:
    """Random values."""
    return samples(SAMPLES, SEED)


@pytest.mark.parametrize("name", NAMES)
def test_every_ci_file_renders_well(name: str) -> None:
    """Each ci file renders objects that the oldest and newest Kubernetes accept, with consistent references."""
    check(render(ci_values(name)))


def test_the_ci_files_make_every_kind() -> None:
    """Every kind that the chart can render is in some ci file, so that none goes untested."""
    made = {one["kind"] for name in NAMES for one in render(ci_values(name))}

    assert made >= COMPLETE


def test_random_values_render_well(sampled: Samples) -> None:
    """A random sample of valid values renders objects that Kubernetes accepts, with consistent references."""
    assert len(sampled.valid) == SAMPLES
    for values, manifests in sampled.valid:
        try:
            check(manifests)
        except AssertionError as error:
            pytest.fail(f"{error}\n{yaml.safe_dump(values)}", pytrace=False)


def test_random_contradictions_are_reported_in_a_sentence(sampled: Samples) -> None:
    """Any random contradiction gets the chart's own message, not a template error."""
    assert len(sampled.refused) > 20
    for told in sampled.refused:
        assert "execution error at (ims-token-broker/templates/deployment.yaml:1:4): " in told, told
        assert told.endswith("."), told


@pytest.mark.parametrize("name", NAMES)
def test_rendering_is_deterministic(name: str) -> None:
    """The same values render the same text: nothing random, no timestamps, no changing order."""
    assert render_texts(ci_values(name)) == render_texts(ci_values(name))


@pytest.mark.parametrize("release", ["r", "a" * 53, "ims-token-broker"])
def test_any_release_name_works(release: str) -> None:
    """The shortest and the longest release name, and the chart's own, give names that Kubernetes accepts."""
    manifests = render(ci_values("policy-hook"), name=release, namespace="n" * 63)

    check(manifests)
    assert len({one["metadata"]["name"] for one in manifests if one["kind"] == "ConfigMap"}) == 3


def test_two_releases_do_not_collide() -> None:
    """Cluster-scoped objects get different names for releases in different namespaces."""
    values = ci_values("token-review")
    first, second = (
        {one["metadata"]["name"] for one in render(values, RELEASE, space) if one["kind"].startswith("Cluster")}
        for space in ("one", "two")
    )

    assert first.isdisjoint(second)


def test_the_schemas_are_the_right_minors() -> None:
    """The chart is checked against the oldest Kubernetes that it supports."""
    chart = yaml.safe_load((Path(ci_files()[0]).parents[1] / "Chart.yaml").read_text())

    assert chart["kubeVersion"] == f">={OLDEST}.0-0"
    assert tuple(map(int, OLDEST.split("."))) < tuple(map(int, NEWEST.split(".")))


# The checks themselves ----------------------------------------------------------------------------------------------


def _deployment() -> Manifest:
    return the(render(ci_values("default")), "Deployment")


def _mutations() -> dict[str, tuple[tuple[str | int, ...], object]]:
    broker = ("spec", "template", "spec", "containers", 0)
    pod = ("spec", "template", "spec")
    return {
        "privileged": ((*broker, "securityContext", "privileged"), True),
        "escalation": ((*broker, "securityContext", "allowPrivilegeEscalation"), True),
        "root": ((*broker, "securityContext", "runAsUser"), 0),
        "capabilities": ((*broker, "securityContext", "capabilities"), {"drop": ["NET_RAW"]}),
        "capability": ((*broker, "securityContext", "capabilities"), {"drop": ["ALL"], "add": ["SYS_TIME"]}),
        "seccomp": ((*pod, "securityContext", "seccompProfile", "type"), "Unconfined"),
        "host network": ((*pod, "hostNetwork"), True),
        "host path": ((*pod, "volumes", 0), {"name": "tmp", "hostPath": {"path": "/tmp"}}),
        "host port": ((*broker, "ports", 0, "hostPort"), 80),
    }


@pytest.mark.parametrize("name", _mutations())
def test_the_pod_security_check_finds_a_violation(name: str) -> None:
    """Each single violation of the restricted profile is found by our check."""
    deployment = _deployment()
    path, value = _mutations()[name]
    [(_, spec)] = pods([deployment])
    check_restricted("unchanged", spec)

    _put(deployment, path, value)

    with pytest.raises(AssertionError):
        check_restricted("mutated", spec)


def test_the_schema_check_finds_a_misspelt_field() -> None:
    """An unknown field, or one of the wrong type, is found in a core object and in a custom resource."""
    for values, kind, path in [
        ("default", "Deployment", ("spec", "template", "spec", "containers", 0, "imagePullPolice")),
        ("default", "Deployment", ("spec", "replicas")),
        ("monitoring", "ServiceMonitor", ("spec", "endpoints", 0, "intervall")),
        ("cert-manager", "Certificate", ("spec", "secretName")),
    ]:
        manifest = the(render(ci_values(values)), kind)
        check_shape(manifest)
        _put(manifest, path, ["x"])

        with pytest.raises(AssertionError):
            check_shape(manifest)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Service", ("spec", "selector", "app.kubernetes.io/instance"), "other"),
        ("Service", ("spec", "ports", 0, "targetPort"), "https"),
        ("NetworkPolicy", ("spec", "podSelector", "matchLabels", "app.kubernetes.io/component"), "web"),
        ("PodDisruptionBudget", ("spec", "selector", "matchLabels", "app.kubernetes.io/name"), "web"),
        ("Deployment", ("spec", "template", "spec", "volumes", 1, "name"), "polcy"),
        (
            "Deployment",
            ("spec", "template", "spec", "containers", 0, "volumeMounts", 0, "mountPath"),
            "/etc/ims-token-broker/policy",
        ),
        ("Deployment", ("spec", "template", "spec", "containers", 0, "readinessProbe", "httpGet", "port"), "web"),
        ("Deployment", ("spec", "template", "spec", "automountServiceAccountToken"), True),
        (
            "Deployment",
            ("spec", "template", "spec", "containers", 0, "env"),
            [{"name": "BROKER_VAULT_TOKEN", "value": "x"}],
        ),
        ("ServiceAccount", ("metadata", "name"), "other"),
    ],
)
def test_the_reference_check_finds_a_broken_reference(kind: str, path: tuple[str | int, ...], value: object) -> None:
    """Inconsistent references between objects are found by our checks."""
    manifests = render(ci_values("default"))
    check(manifests)

    _put(the(manifests, kind), path, value)

    with pytest.raises(AssertionError):
        check(manifests)


def test_every_image_can_come_from_a_mirror() -> None:
    """`global.imageRegistry` prefixes each image that the chart names, and a digest takes precedence over the tag."""
    values = ci_values("policy-hook")
    values |= {"global": {"imageRegistry": "mirror.example.com"}, "image": {"digest": "sha256:" + "b" * 64, "tag": "7"}}
    images = {container["image"] for _, spec in pods(render(values)) for container in containers(spec)}

    assert images == {"mirror.example.com/ims-token-broker@sha256:" + "b" * 64}


def _put(manifest: Manifest, path: tuple[str | int, ...], value: object) -> None:
    place: object = manifest
    for part in path[:-1]:
        place = place[part]  # type: ignore[index]
    place[path[-1]] = value  # type: ignore[index]
