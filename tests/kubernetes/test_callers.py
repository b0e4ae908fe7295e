"""Callers that show a service-account token of a real API server to a real broker."""

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
    """One replica under the documented policy, with this server's URL; the callers may have every org here."""
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
    """What the broker answers to who shows `token`."""
    return await fleet.replicas[0].token(tenant.org, key=token)


async def name_of(fleet: Fleet, reply: Reply) -> object:
    """Whom the audit log names for a request; its line is written behind the answer."""

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
    """The documented policy lets in one service account by its subject, and any other one by its namespace."""
    reply = await shown(fleet, tenant, caller_token(kube_api, namespace, account))
    assert reply.status == 200
    assert await name_of(fleet, reply) == caller


@pytest.mark.parametrize(
    ("namespace", "account"),
    [("marketing-x", "export"), ("x-marketing", "export"), ("other", "marketing"), ("default", "marketing-export")],
)
async def test_a_name_that_looks_alike_is_nobody(
    fleet: Fleet, tenant: Tenant, kube_api: KubeApi, namespace: str, account: str
) -> None:
    """A valid token of a namespace that only begins or ends alike, or of an account named so, is forbidden."""
    reply = await shown(fleet, tenant, caller_token(kube_api, namespace, account))
    assert (reply.status, reply.json["code"]) == (403, "forbidden")


async def test_a_token_for_somebody_else_is_refused(fleet: Fleet, tenant: Tenant, kube_api: KubeApi) -> None:
    """A token for another audience, and the API server's own that every pod has by default, prove nothing."""
    for audience in ("vault", None, f"{AUDIENCE}x"):
        assert (await shown(fleet, tenant, caller_token(kube_api, "marketing", "export", audience))).status == 401


async def test_an_expired_token_is_refused(fleet: Fleet, tenant: Tenant, kube_api: KubeApi) -> None:
    """A token that the cluster signed, and that ended more than the clocks' difference ago, proves nothing."""
    token, now = caller_token(kube_api, "marketing", "export"), int(time.time())
    alive = resigned(kube_api, token, iat=now - 700, exp=now + 10)
    ended = resigned(kube_api, token, iat=now - 700, exp=now - 61)
    assert [(await shown(fleet, tenant, shown_token)).status for shown_token in (alive, ended)] == [200, 401]


async def test_a_tampered_token_is_refused(fleet: Fleet, tenant: Tenant, kube_api: KubeApi) -> None:
    """Another subject, namespace or end under the signature of a real token proves nothing."""
    token = caller_token(kube_api, "nobody", "app")
    subject = "system:serviceaccount:marketing:export"
    for changes in ({"sub": subject}, {"kubernetes.io": {"namespace": "marketing"}}, {"exp": int(time.time()) + 9000}):
        assert (await shown(fleet, tenant, tampered(token, **changes))).status == 401


async def test_a_namespace_needs_claim_and_subject(fleet: Fleet, tenant: Tenant, kube_api: KubeApi) -> None:
    """Even under the cluster's own signature a namespace counts only where claim and subject agree."""
    token = caller_token(kube_api, "nobody", "app")
    for changes in (
        {"kubernetes.io": {"namespace": "marketing"}},
        {"sub": "system:serviceaccount:marketing:other"},
        {"sub": "system:serviceaccount:marketing:x:y", "kubernetes.io": {"namespace": "marketing"}},
    ):
        assert (await shown(fleet, tenant, resigned(kube_api, token, **changes))).status == 403


async def test_another_cluster_is_nobody(
    fleet: Fleet, tenant: Tenant, kube_api: KubeApi, other_cluster: KubeApi
) -> None:
    """A token of a cluster whose issuer has the same name but other keys proves nothing."""
    assert other_cluster.issuer == kube_api.issuer == ISSUER
    assert (await shown(fleet, tenant, caller_token(other_cluster, "marketing", "export"))).status == 401


def test_the_documented_policy_is_one() -> None:
    """The policy of the document is accepted as it stands."""
    assert len(parse_policy(documented_policy(), "v").callers) == 3


def test_the_documented_caller_is_admitted(kube_api: KubeApi) -> None:
    """The pod of the document is stored, and its service account can have the token that its volume asks for."""
    kube_api.create_service_account("marketing", "export")
    kube_api.apply_yaml(fenced("callers.md", "caller"))
    pod = kube_api.get("/api/v1/namespaces/marketing/pods/export")
    [source] = pod["spec"]["volumes"][0]["projected"]["sources"]
    wanted = source["serviceAccountToken"]
    token = kube_api.token_request("marketing", "export", wanted["audience"], wanted["expirationSeconds"], "export")
    assert len(pod["spec"]["volumes"]) == 1, "the API server's own token is left out"
    assert token.count(".") == 2


def test_the_documented_volume_of_the_broker_is_admitted(kube_api: KubeApi) -> None:
    """The volume of the document fits into a pod, and its token is for the API server."""
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


def test_the_api_server_grants_no_shorter_life(kube_api: KubeApi) -> None:
    """The least life of a requested token is what the document says."""
    kube_api.create_service_account("marketing", "export")
    with pytest.raises(KubeApiError, match="10 minutes"):
        kube_api.token_request("marketing", "export", AUDIENCE, 599)
