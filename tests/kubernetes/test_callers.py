"""Callers that present a service-account token of a real API server to a real broker."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import yaml

from app.domain.policy_document import parse_policy
from tests.support.fenced import fenced
from tests.support.fleet import Backends, Fleet, running_fleet
from tests.support.kube_api import ISSUER, KubeApi, KubeApiError
from tests.support.kube_fleet import AUDIENCE, BrokerPod, caller_token, documented_policy, resigned, tampered
from tests.support.tenants import Tenant
from tests.support.waiting import until
from tests.support.wire import Reply


@pytest.fixture(scope="module")
def fleet(backends: Backends, kube_api: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One replica with the documented policy and this server's URL; its callers may use every org."""
    folder = tmp_path_factory.mktemp("callers")
    with running_fleet(backends, folder, 0) as running:
        running.policy.trust(BrokerPod(kube_api, folder).issuer())
        for caller in documented_policy()["callers"]:
            running.policy.matched(caller["name"], caller["match"], {"orgs": ["*"]})
        running.start()
        yield running


@pytest.fixture(scope="module")
def tenant(fleet: Fleet) -> Tenant:
    """A tenant of the fleet."""
    return fleet.tenant()


async def shown(fleet: Fleet, tenant: Tenant, token: str) -> Reply:
    """The broker's response to a caller that presents `token`."""
    return await fleet.replicas[0].token(tenant.org, key=token)


async def name_of(fleet: Fleet, reply: Reply) -> object:
    """The caller that the audit log names for a request; its line is written after the response."""

    def named() -> list[object]:
        lines = fleet.replicas[0].audit_lines()
        return [line["caller"] for line in lines if line.get("request_id") == reply.header("X-Request-Id")]

    await until(lambda: bool(named()))
    return named()[0]


@pytest.mark.parametrize(
    ("namespace", "account", "caller"),
    [
        ("marketing", "export", "nightly-export"),
        ("marketing", "other", "marketing"),
        ("marketing", "default", "marketing"),
        ("finance", "export", "finance"),
    ],
)
async def test_a_service_account_is_its_caller(
    fleet: Fleet, tenant: Tenant, kube_api: KubeApi, namespace: str, account: str, caller: str
) -> None:
    """The documented policy admits one service account by its subject, and others by their namespace."""
    reply = await shown(fleet, tenant, caller_token(kube_api, namespace, account))
    assert reply.status == 200
    assert await name_of(fleet, reply) == caller


@pytest.mark.parametrize(
    ("namespace", "account"),
    [("marketing-x", "export"), ("x-marketing", "export"), ("other", "marketing"), ("default", "marketing-export")],
)
async def test_a_similar_name_is_forbidden(
    fleet: Fleet, tenant: Tenant, kube_api: KubeApi, namespace: str, account: str
) -> None:
    """A valid token is forbidden if its namespace or account only begins or ends like an allowed one."""
    reply = await shown(fleet, tenant, caller_token(kube_api, namespace, account))
    assert (reply.status, reply.json["code"]) == (403, "forbidden")


async def test_a_token_for_another_audience_is_refused(fleet: Fleet, tenant: Tenant, kube_api: KubeApi) -> None:
    """A token for another audience is refused, and so is the API server token that every pod has by default."""
    for audience in ("vault", None, f"{AUDIENCE}x"):
        assert (await shown(fleet, tenant, caller_token(kube_api, "marketing", "export", audience))).status == 401


async def test_an_expired_token_is_refused(fleet: Fleet, tenant: Tenant, kube_api: KubeApi) -> None:
    """A token that the cluster signed is refused once it has been expired for longer than the allowed clock skew."""
    token, now = caller_token(kube_api, "marketing", "export"), int(time.time())
    alive = resigned(kube_api, token, iat=now - 700, exp=now + 10)
    ended = resigned(kube_api, token, iat=now - 700, exp=now - 61)
    assert [(await shown(fleet, tenant, shown_token)).status for shown_token in (alive, ended)] == [200, 401]


async def test_a_tampered_token_is_refused(fleet: Fleet, tenant: Tenant, kube_api: KubeApi) -> None:
    """A real token whose subject, namespace or expiry was changed is refused."""
    token = caller_token(kube_api, "stranger", "app")
    subject = "system:serviceaccount:marketing:export"
    for changes in ({"sub": subject}, {"kubernetes.io": {"namespace": "marketing"}}, {"exp": int(time.time()) + 9000}):
        assert (await shown(fleet, tenant, tampered(token, **changes))).status == 401


async def test_a_namespace_needs_claim_and_subject(fleet: Fleet, tenant: Tenant, kube_api: KubeApi) -> None:
    """Even in a token that the cluster signed, a namespace counts only if claim and subject agree."""
    token = caller_token(kube_api, "stranger", "app")
    for changes in (
        {"kubernetes.io": {"namespace": "marketing"}},
        {"sub": "system:serviceaccount:marketing:other"},
        {"sub": "system:serviceaccount:marketing:x:y", "kubernetes.io": {"namespace": "marketing"}},
    ):
        assert (await shown(fleet, tenant, resigned(kube_api, token, **changes))).status == 403


async def test_a_token_of_another_cluster_is_refused(
    fleet: Fleet, tenant: Tenant, kube_api: KubeApi, other_cluster: KubeApi
) -> None:
    """A token of a cluster whose issuer has the same name but different keys is refused."""
    assert other_cluster.issuer == kube_api.issuer == ISSUER
    assert (await shown(fleet, tenant, caller_token(other_cluster, "marketing", "export"))).status == 401


def test_the_documented_policy_is_valid() -> None:
    """The policy in the document is accepted unchanged."""
    assert len(parse_policy(documented_policy(), "v").callers) == 3


def test_the_documented_caller_is_admitted(kube_api: KubeApi) -> None:
    """The pod in the document is admitted, and its service account can get the token that its volume requests."""
    kube_api.create_service_account("marketing", "export")
    kube_api.apply_yaml(fenced("callers.md", "caller"))
    pod = kube_api.get("/api/v1/namespaces/marketing/pods/export")
    [source] = pod["spec"]["volumes"][0]["projected"]["sources"]
    wanted = source["serviceAccountToken"]
    token = kube_api.token_request("marketing", "export", wanted["audience"], wanted["expirationSeconds"], "export")
    assert len(pod["spec"]["volumes"]) == 1, "the API server's own token is left out"
    assert token.count(".") == 2


def test_the_documented_volume_of_the_broker_is_admitted(kube_api: KubeApi) -> None:
    """A pod with the volume in the document is admitted, and the token is for the API server."""
    kube_api.create_service_account("broker-pod", "ims-token-broker")
    volumes = yaml.safe_load(fenced("callers.md", "broker-volume"))
    container = {"name": "broker", "image": "registry.invalid/broker:1"}
    spec = {
        "serviceAccountName": "ims-token-broker",
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": volumes,
    }
    kube_api.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "broker", "namespace": "broker-pod"}, "spec": spec}
    )
    assert "audience" not in volumes[0]["projected"]["sources"][0]["serviceAccountToken"]


def test_the_api_server_grants_no_shorter_lifetime(kube_api: KubeApi) -> None:
    """The minimum lifetime of a requested token is the one in the document."""
    kube_api.create_service_account("marketing", "export")
    with pytest.raises(KubeApiError, match="10 minutes"):
        kube_api.token_request("marketing", "export", AUDIENCE, 599)
