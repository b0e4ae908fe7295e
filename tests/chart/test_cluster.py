"""A real API server accepts the chart: installed, upgraded, rolled back and uninstalled by the real ``helm``.

No controllers run there. So the tests submit pods as the controllers would, in a namespace that enforces the
restricted Pod Security profile.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chart import Manifest, ci_files, ci_values, render, the
from tests.support.helm import Helm, install_custom_resources
from tests.support.kube_api import KubeAnswer, KubeApi

ELSEWHERE = "identity"
"""The namespace into which one of the ci files puts everything."""


@pytest.fixture(scope="module")
def cluster(kube_api: KubeApi) -> KubeApi:
    """An API server that has the custom resource definitions."""
    install_custom_resources(kube_api)
    return kube_api


@pytest.fixture(scope="module")
def helm(cluster: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """``helm`` as the cluster's administrator."""
    home = tmp_path_factory.mktemp("helm")
    return Helm(home, cluster.kubeconfig(home / "kubeconfig"))


@pytest.fixture
def space(cluster: KubeApi, request: pytest.FixtureRequest) -> str:
    """A namespace that enforces the restricted profile."""
    name = f"chart-{abs(hash(request.node.nodeid)) % 10**9}"
    for each in (name, ELSEWHERE):
        cluster.restricted_namespace(each)
        cluster.create_service_account(each, "existing")
    return cluster.restricted_namespace(name)


def shown(api: KubeApi, space: str, pod: Manifest) -> KubeAnswer:
    """The server's response to a dry run that creates a pod."""
    return api.request("POST", f"/api/v1/namespaces/{space}/pods?dryRun=All", pod)


def pod_of(manifest: Manifest) -> dict[str, Any]:
    """The pod that a controller would make, or the pod itself."""
    template = manifest if manifest["kind"] == "Pod" else manifest["spec"]["template"]
    metadata = {"generateName": "pod-", "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}


@pytest.fixture
def without_the_default_binding(cluster: KubeApi) -> Iterator[None]:
    """A hardened cluster: by default every service account may read the issuer's keys; here none may."""
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    binding = cluster.get(f"{path}/system:service-account-issuer-discovery")
    cluster.delete(f"{path}/system:service-account-issuer-discovery")
    yield
    del binding["metadata"]["resourceVersion"], binding["metadata"]["uid"]
    cluster.create(path, binding)


@pytest.mark.parametrize("path", ci_files(), ids=lambda path: path.stem)
def test_a_release_goes_through_its_life_cycle(cluster: KubeApi, helm: Helm, space: str, path: Path) -> None:
    """Each ci file is installed, upgraded, rolled back and uninstalled; its pods are admitted; nothing is left over."""
    manifests = render(ci_values(path.name.removesuffix("-values.yaml")), namespace=space)
    stored = [one for one in manifests if "helm.sh/hook" not in one["metadata"].get("annotations", {})]
    for one in manifests:  # helm puts objects without a namespace into the release's
        if not one["kind"].startswith("Cluster"):
            one["metadata"].setdefault("namespace", space)
    settings = cluster.path_of(the(manifests, "ConfigMap", "-settings"))

    helm.change("install", "rel", space, path)
    installed = {cluster.path_of(one): cluster.get(cluster.path_of(one)) for one in stored}
    first = installed[settings]["data"]
    for one in manifests:
        if one["kind"] in {"Deployment", "Job", "Pod"}:
            answer = shown(cluster, one["metadata"]["namespace"], pod_of(one))
            assert answer.status == 201, answer.body

    helm.change(
        "upgrade", "rel", space, path, "--set", "broker.logLevel=DEBUG", "--set", "terminationGracePeriodSeconds=90"
    )
    assert cluster.get(settings)["data"] == first | {"BROKER_LOG_LEVEL": "DEBUG"}

    helm.run("rollback", "rel", "1", "--namespace", space, "--no-hooks")
    assert cluster.get(settings)["data"] == first

    helm.run("uninstall", "rel", "--namespace", space, "--no-hooks")
    assert [where for where in installed if cluster.request("GET", where).status != 404] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}, "unrestricted capabilities"),
        ({"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation"),
        ({"capabilities": {"drop": ["NET_RAW"]}}, "unrestricted capabilities"),
        ({"runAsUser": 0}, "runAsUser=0"),
        ({"runAsNonRoot": False}, "runAsNonRoot"),
        ({"seccompProfile": {"type": "Unconfined"}}, "seccompProfile"),
    ],
)
def test_the_server_refuses_a_pod_that_is_less_than_restricted(
    cluster: KubeApi, space: str, change: dict[str, Any], told: str
) -> None:
    """The same pod with one more privilege is refused, so the profile really is enforced."""
    pod = pod_of(the(render(ci_values("minimal")), "Deployment"))
    assert shown(cluster, space, pod).status == 201

    pod["spec"]["containers"][0]["securityContext"] |= change
    answer = shown(cluster, space, pod)

    assert answer.status == 403
    assert "violates PodSecurity" in answer.body["message"]
    assert told in answer.body["message"]


@pytest.mark.usefixtures("without_the_default_binding")
def test_the_broker_may_read_the_keys_and_no_more(cluster: KubeApi, helm: Helm, space: str) -> None:
    """Its service account reads the issuer's keys and reviews tokens only if values ask for it; never a Secret."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "x"}}
    [values] = [path for path in ci_files() if path.name == "token-review-values.yaml"]
    name = "rel-ims-token-broker"

    def rights() -> tuple[int, int, int]:
        token = cluster.token_request(space, name)
        return (
            cluster.request("GET", "/openid/v1/jwks", token=token).status,
            cluster.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review, token=token).status,
            cluster.request("GET", f"/api/v1/namespaces/{space}/secrets", token=token).status,
        )

    helm.change("install", "rel", space, values)
    assert rights() == (200, 201, 403)

    helm.change("upgrade", "rel", space, values, "--set", "callers.kubernetes.tokenReview=false")
    assert rights() == (200, 403, 403)

    helm.change(
        "upgrade",
        "rel",
        space,
        values,
        "--set",
        "callers.kubernetes.tokenReview=false,callers.kubernetes.enabled=false",
    )
    assert rights() == (403, 403, 403)

    helm.run("uninstall", "rel", "--namespace", space, "--no-hooks")
