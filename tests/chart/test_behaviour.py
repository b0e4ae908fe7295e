"""What an operator relies on: what rolls the pods, which traffic is allowed, where secrets are, the notes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from app.cli.program import app
from tests.support.chart import CHART, NAMESPACE, ci_files, ci_values, kinds, notes, render, the, with_value
from tests.support.chart_checks import containers, pods
from tests.support.promtool import promtool


def template_of(values: dict[str, Any]) -> dict[str, Any]:
    """The template of the broker's pods."""
    template: dict[str, Any] = the(render(values), "Deployment")["spec"]["template"]
    return template


def broker_of(values: dict[str, Any]) -> dict[str, Any]:
    """The broker's container."""
    [broker] = [one for one in template_of(values)["spec"]["containers"] if one["name"] == "broker"]
    return dict(broker)


# Changes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [("broker.logLevel", "DEBUG"), ("vault.mount", "kv"), ("redis.port", 6380), ("audit.chain", True)],
)
def test_a_changed_setting_rolls_the_pods(path: str, value: object) -> None:
    """A setting is read only at startup, so changing it changes the checksum in the pod template, and nothing else."""
    before, after = template_of(ci_values("default")), template_of(with_value(ci_values("default"), path, value))

    changed = {
        key for key, text in after["metadata"]["annotations"].items() if before["metadata"]["annotations"][key] != text
    }
    assert changed == {"checksum/settings"}


def test_a_changed_policy_rolls_nothing() -> None:
    """The policy is read again when it changes, so a new policy leaves the Deployment byte-for-byte unchanged."""
    before = render(ci_values("default"))
    after = render(with_value(ci_values("default"), "policy.inline.callers", []))

    assert the(before, "ConfigMap", "-policy") != the(after, "ConfigMap", "-policy")
    assert the(before, "Deployment") == the(after, "Deployment")


def test_the_policy_is_mounted_as_a_folder() -> None:
    """The policy is mounted as a directory of its own, which the kubelet keeps up to date; never as a subPath."""
    [mount] = [one for one in broker_of(ci_values("default"))["volumeMounts"] if one["name"] == "policy"]

    assert mount == {"name": "policy", "mountPath": "/etc/ims-token-broker/policy", "readOnly": True}


@pytest.mark.parametrize("name", ["default", "policy-hook", "token-review"])
def test_the_policies_of_the_examples_are_valid(name: str, tmp_path: Path) -> None:
    """An inline policy, whether a map or text, renders as a policy that the broker accepts."""
    from app.adapters.policy_file import read_policy

    file = tmp_path / "policy.yaml"
    file.write_text(the(render(ci_values(name)), "ConfigMap", "-policy")["data"]["policy.yaml"])

    assert len(read_policy(file).callers) == 1


def test_the_hook_checks_what_is_about_to_be_installed() -> None:
    """The pre-install Job gets the new policy from a ConfigMap that is created before it, and uses no token."""
    manifests = render(ci_values("policy-hook"))
    job, policy = the(manifests, "Job"), the(manifests, "ConfigMap", "-check")

    assert policy["data"] == the(manifests, "ConfigMap", "-policy")["data"]
    assert policy["metadata"]["annotations"]["helm.sh/hook"] == job["metadata"]["annotations"]["helm.sh/hook"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert int(policy["metadata"]["annotations"]["helm.sh/hook-weight"]) < 0
    assert "serviceAccountName" not in job["spec"]["template"]["spec"]  # the chart's own does not exist yet
    [volume] = [one for one in job["spec"]["template"]["spec"]["volumes"] if one["name"] == "policy"]
    assert volume["configMap"]["name"] == policy["metadata"]["name"]


# The command line ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [path.name.removesuffix("-values.yaml") for path in ci_files()])
def test_every_command_of_a_container_exists(name: str) -> None:
    """The chart's containers run commands of the broker, with options that those commands have."""
    seen = 0
    for _, spec in pods(render(ci_values(name))):
        for container in containers(spec):
            if "ims-token-broker" in container["image"]:
                _assert_command(container["args"])
                seen += 1
    assert seen


def _assert_command(arguments: list[str]) -> None:
    command: Any = get_command(app)
    rest = list(arguments)
    while getattr(command, "commands", None):
        assert rest[0] in command.commands, arguments
        command = command.commands[rest.pop(0)]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {argument.partition("=")[0] for argument in rest if argument.startswith("--")} <= options, arguments


# Secrets and identity -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mounted"),
    [
        ("existing-secret", {
            "/etc/ims-token-broker/policy": "broker-policy", "/etc/ims-token-broker/keys": "broker-keys",
            "/etc/ims-token-broker/vault": "broker-vault", "/etc/ims-token-broker/redis": "broker-redis",
        }),
        ("approle", {"/etc/ims-token-broker/approle": "broker-approle"}),
        ("tls", {"/etc/ims-token-broker/tls": "broker-tls"}),
    ],
)  # fmt: skip
def test_secrets_are_files_that_only_the_broker_reads(name: str, mounted: dict[str, str]) -> None:
    """Each Secret is mounted at the path in its setting, readable by the broker's group and by no one else."""
    values = ci_values(name)
    volumes = {one["name"]: one for one in template_of(values)["spec"]["volumes"]}
    places = {one["mountPath"]: volumes[one["name"]] for one in broker_of(values)["volumeMounts"]}

    for path, secret in mounted.items():
        assert places[path]["secret"]["secretName"] == secret
        assert places[path]["secret"]["defaultMode"] == 0o440


@pytest.mark.parametrize("name", [path.name.removesuffix("-values.yaml") for path in ci_files()])
def test_nothing_of_the_image_can_be_written(name: str) -> None:
    """Every container of the chart has a read-only root file system; the broker has a bounded `/tmp` in memory."""
    values = ci_values(name)
    for _, spec in pods(render(values)):
        for container in containers(spec):
            if "ims-token-broker" in container["image"]:
                assert container["securityContext"]["readOnlyRootFilesystem"] is True
    [tmp] = [one for one in template_of(values)["spec"]["volumes"] if one["name"] == "tmp"]
    assert tmp["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Mi"}
    assert {one["mountPath"] for one in broker_of(values)["volumeMounts"] if not one.get("readOnly")} <= {
        "/tmp",
        "/var/log/ims-token-broker",
    }


def test_an_annotation_of_a_user_does_not_hide_the_checksum() -> None:
    """A user's annotation cannot override the chart's checksum of the settings."""
    values = with_value(ci_values("default"), "podAnnotations", {"checksum/settings": "mine"})

    assert template_of(values)["metadata"]["annotations"]["checksum/settings"] != "mine"


def test_each_document_of_a_tenant_is_where_the_broker_looks() -> None:
    """Secrets become `<org>/<credential>.json` below the directory of credentials."""
    [volume] = [one for one in template_of(ci_values("directory"))["spec"]["volumes"] if one["name"] == "credentials"]
    paths = [source["secret"]["items"][0]["path"] for source in volume["projected"]["sources"]]

    assert paths == [
        "0123456789ABCDEF01234567@AdobeOrg/default.json",
        "89ABCDEF0123456701234567@AdobeOrg/export.json",
    ]


def tokens_of(values: dict[str, Any]) -> list[tuple[str, str | None]]:
    """The volume name and audience of each service-account token in the pods."""
    return [
        (volume["name"], source["serviceAccountToken"].get("audience"))
        for volume in template_of(values)["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        if "serviceAccountToken" in source
    ]


def test_tokens_are_projected_only_if_needed() -> None:
    """Vault's token has Vault's audience; one for the API server exists if callers need it; otherwise there is none."""
    assert tokens_of(ci_values("default")) == [("vault-identity", "vault")]
    assert tokens_of(ci_values("token-review")) == [("vault-identity", "vault"), ("kubernetes", None)]
    assert tokens_of(with_value(ci_values("default"), "vault.auth", "jwt")) == [("vault-identity", "vault")]
    assert tokens_of(with_value(ci_values("default"), "vault.auth", "agent")) == []
    assert tokens_of(ci_values("approle")) == []
    assert tokens_of(ci_values("directory")) == []


def test_the_broker_has_no_rights_by_default() -> None:
    """Without service-account callers there is no role; with them the role grants only what the values ask for."""
    values = ci_values("token-review")

    assert not any(kind.startswith("ClusterRole") for kind in kinds(render(ci_values("default"))))
    assert "ClusterRole" not in kinds(render(with_value(values, "callers.kubernetes.tokenReview", False)))
    assert the(render(values), "ClusterRole")["rules"] == [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    ]


def test_settings_and_notes_quote_no_secret() -> None:
    """ConfigMaps and notes may name a Secret, but never hold its content."""
    for path in ci_files():
        values = ci_values(path.name.removesuffix("-values.yaml"))
        made = [one for one in render(values) if one["kind"] == "ConfigMap"]
        assert "BEGIN" not in json.dumps(made) + notes(values)


# Traffic ------------------------------------------------------------------------------------------------------------


def ports_out(name: str) -> set[int]:
    """The TCP ports that the broker may reach."""
    rules = the(render(ci_values(name)), "NetworkPolicy")["spec"]["egress"]
    return {port["port"] for rule in rules for port in rule["ports"] if port["protocol"] == "TCP"}


def test_traffic_is_denied_unless_named() -> None:
    """Both directions are denied by default; only the configured backends are allowed, at their ports."""
    policy = the(render(ci_values("default")), "NetworkPolicy")["spec"]

    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["from"] for rule in policy["ingress"]] == [[{"podSelector": {}}]]
    assert ports_out("default") == {53, 8200, 6379, 443}
    assert ports_out("directory") == {53, 6379, 443}
    assert ports_out("existing-secret") == {53, 8200, 6380, 443}
    assert ports_out("tracing") == {53, 8200, 6379, 443, 4318}
    assert ports_out("token-review") == {53, 8200, 6379, 443, 6443}
    assert ports_out("approle") == {53, 443, 6379, 8443}  # 8443 is that of AWS KMS
    assert ports_out("proxy") == {53, 8200, 6379, 3128}  # and not 443: IMS is reached through the proxy only


def test_only_the_gateway_and_the_test_may_call() -> None:
    """If callers are named, only they and the `helm test` pod may call, not the whole namespace."""
    manifests = render(ci_values("gateway"))
    [rule] = the(manifests, "NetworkPolicy")["spec"]["ingress"]
    gateway, test = rule["from"]

    assert gateway["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "gateways"}
    assert test["podSelector"]["matchLabels"].items() <= the(manifests, "Pod")["metadata"]["labels"].items()
    assert len(test["podSelector"]["matchLabels"]) == 3


# Around the pods ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "scheme"), [("default", "HTTP"), ("tls", "HTTPS"), ("cert-manager", "HTTPS")])
def test_everything_that_calls_the_broker_uses_its_scheme(name: str, scheme: str) -> None:
    """Probes, the Service, the ServiceMonitor and the test use HTTPS if the broker serves it."""
    values = with_value(ci_values(name), "metrics.serviceMonitor.enabled", True)
    manifests, broker = render(values), broker_of(values)
    [endpoint] = the(manifests, "ServiceMonitor")["spec"]["endpoints"]
    asked = the(manifests, "Pod")["spec"]["containers"]

    assert {broker[f"{probe}Probe"]["httpGet"]["scheme"] for probe in ("startup", "liveness", "readiness")} == {scheme}
    assert the(manifests, "Service")["spec"]["ports"][0]["appProtocol"] == endpoint["scheme"] == scheme.lower()
    assert all(f"{scheme.lower()}://" in one["args"][2] for one in asked)
    assert all(("--ca-file" in one["args"]) == (scheme == "HTTPS") for one in asked)
    assert ("tlsConfig" in endpoint) == (scheme == "HTTPS")
    assert "tls.key" not in json.dumps(asked) + json.dumps(the(manifests, "Pod")["spec"].get("volumes", []))


@pytest.mark.parametrize(
    ("replicas", "budget"), [(1, False), (2, True), (3, True)]
)  # fmt: skip
def test_a_budget_is_made_for_more_than_one_replica(replicas: int, budget: bool) -> None:
    """A single pod gets no budget: it would only keep its node from being drained."""
    made = kinds(render(with_value(ci_values("default"), "replicaCount", replicas)))

    assert ("PodDisruptionBudget" in made) == budget


def test_without_a_sleep_there_is_no_hook() -> None:
    """`preStopSleepSeconds: 0` leaves the action out: not every Kubernetes accepts a sleep of zero seconds."""
    assert broker_of(ci_values("default"))["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert "lifecycle" not in broker_of(with_value(ci_values("default"), "preStopSleepSeconds", 0))


def test_pods_are_spread_by_default() -> None:
    """By default replicas are spread over zones and nodes, each ReplicaSet separately."""
    constraints = template_of(ci_values("default"))["spec"]["topologySpreadConstraints"]

    assert [one["topologyKey"] for one in constraints] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert all(one["matchLabelKeys"] == ["pod-template-hash"] for one in constraints)


def test_the_rules_are_those_of_the_file(tmp_path: Path) -> None:
    """A PrometheusRule has every rule in the file, with the configured labels, and promtool accepts it."""
    spec = the(render(ci_values("monitoring")), "PrometheusRule")["spec"]
    file = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    rules = [rule for group in spec["groups"] for rule in group["rules"]]
    alerts = [rule for rule in rules if "alert" in rule]

    assert [rule["expr"] for rule in rules] == [rule["expr"] for group in file["groups"] for rule in group["rules"]]
    assert alerts
    for alert in alerts:
        assert alert["labels"]["team"] == "identity"
        assert alert["labels"]["severity"]
        assert alert["annotations"]["runbook_url"].startswith("https://wiki.example.com/ims-token-broker/RUNBOOK.md#")
    rendered = tmp_path / "rules.yaml"
    rendered.write_text(yaml.safe_dump(spec))
    checked = promtool("check", "rules", str(rendered))
    assert checked.returncode == 0, checked.stdout


def test_the_dashboard_is_that_of_the_file() -> None:
    """The ConfigMap for Grafana holds the file, which is valid JSON."""
    config = the(render(ci_values("monitoring")), "ConfigMap", "-dashboard")

    assert json.loads(config["data"]["ims-token-broker.json"]) == json.loads(
        (CHART / "files" / "dashboards" / "ims-token-broker.json").read_text()
    )
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"


# Notes --------------------------------------------------------------------------------------------------------------


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return with_value(values, "redis.tls.enabled", False)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("default", dict, "port-forward service/rel-ims-token-broker 8080:80"),
        (
            "default",
            dict,
            f"bound to service account rel-ims-token-broker of namespace {NAMESPACE}, with audience vault",
        ),
        ("tls", dict, "curl --insecure https://127.0.0.1:8080/readyz"),
        ("tls", dict, "backend-protocol: HTTPS"),
        ("gateway", dict, "WARNING: the pods serve plain HTTP"),
        ("default", _plain, "WARNING: redis.tls.enabled is false"),
        ("minimal", dict, "WARNING: redis.mode is memory"),
        ("minimal", dict, "WARNING: networkPolicy.enabled is false"),
        ("tls", dict, "NOTE: networkPolicy.ingress.metricsFrom is empty"),
        ("token-review", dict, "for jwks_token_file and jwks_ca_file"),
    ],
)
def test_the_notes_say_what_to_do_next(
    name: str, change: Callable[[dict[str, Any]], dict[str, Any]], expected: str
) -> None:
    """After an install the notes name the next commands, and warn about insecure values."""
    assert expected in notes(change(ci_values(name)))


def test_the_notes_have_no_warnings_by_default() -> None:
    """An install with only the required values gets no warnings."""
    assert "WARNING" not in notes(ci_values("default"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("securityContext.privileged", True),
        ("securityContext.allowPrivilegeEscalation", True),
        ("securityContext.readOnlyRootFilesystem", False),
        ("securityContext.capabilities", None),
        ("securityContext.capabilities", {"drop": ["ALL"], "add": ["NET_ADMIN"]}),
    ],
)
def test_the_notes_warn_about_a_weaker_container(path: str, value: object) -> None:
    """After an install that weakens the containers' security context the notes say so."""
    assert "WARNING: securityContext allows more" in notes(with_value(ci_values("default"), path, value))


@pytest.mark.parametrize("key", ["null", "true", "1.0", "-"])
def test_a_key_of_the_policy_that_looks_like_something_else_stays_text(key: str) -> None:
    """The policy is stored under exactly the key that the volume uses."""
    made = render(with_value(ci_values("policy-hook"), "policy.key", key))
    assert [list(one["data"]) for one in made if key in one.get("data", {})] == [[key], [key]]
