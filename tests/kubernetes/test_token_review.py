"""TokenReview by a real API server: a deleted service account or pod is refused within a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from app.adapters.jwt_verifier import JwtCallerVerifier, Pace
from app.adapters.jwt_verifier.token_review import POSITIVE_SECONDS
from app.domain.errors import UnauthenticatedError
from app.domain.policy_document import parse_policy
from tests.support.fenced import fenced
from tests.support.fetches import Fetches
from tests.support.fleet import Backends, Fleet, running_fleet
from tests.support.kube_api import KubeApi
from tests.support.kube_fleet import BrokerPod, caller_token
from tests.support.manual_time import ManualTime
from tests.support.waiting import until_answered

_RULE = {"orgs": ["*"]}
_MINUTE = 60.0


class PodReviewHarness:
    """A verifier with token review, in the broker's pod."""

    def __init__(self, api: KubeApi, folder: Path) -> None:
        pod = BrokerPod(api, folder)
        self.time = ManualTime()
        self.events = Fetches()
        self.verifier = JwtCallerVerifier(time.time, self.events, Pace(self.time.now, self.time.sleep))
        caller = {"name": "a", "match": {"issuer": api.issuer, "namespace": "a"}, "allow": [_RULE]}
        document = {"version": 1, "issuers": [pod.issuer(reviewed=True)], "callers": [caller]}
        self.verifier.trust(parse_policy(document, "v").issuers)

    async def holds(self, token: str) -> bool:
        """Whether the token is valid, with an empty cache."""
        self.time.advance(POSITIVE_SECONDS)
        try:
            await self.verifier.verify(token.encode())
        except UnauthenticatedError:
            return False
        return True


@pytest.fixture
async def harness(kube_api: KubeApi, tmp_path: Path) -> AsyncIterator[PodReviewHarness]:
    """A verifier that may review tokens, as documented."""
    kube_api.apply_yaml(fenced("callers.md", "rbac-token-review"))
    made = PodReviewHarness(kube_api, tmp_path)
    await made.events.reach(1)
    yield made
    await made.verifier.aclose()


async def test_a_deleted_account_or_pod_is_refused_within_a_minute(
    harness: PodReviewHarness, kube_api: KubeApi
) -> None:
    """The API server's reviews see a deleted account or pod soon enough that with our cache it takes under a minute."""
    by_account = caller_token(kube_api, "review", "leaver")
    kube_api.create_service_account("review", "stayer")
    kube_api.create_pod("review", "gone", "stayer")
    by_pod = kube_api.token_request("review", "stayer", "ims-token-broker", pod="gone")
    stays = caller_token(kube_api, "review", "stayer")
    assert [await harness.holds(token) for token in (by_account, by_pod, stays)] == [True] * 3

    started = time.monotonic()
    kube_api.delete_service_account("review", "leaver")
    kube_api.delete("/api/v1/namespaces/review/pods/gone")
    for token in (by_account, by_pod):
        await until_answered(_refuses(harness, token), _MINUTE - POSITIVE_SECONDS, every=0.2)
    assert time.monotonic() - started + POSITIVE_SECONDS < _MINUTE
    assert await harness.holds(stays)


def _refuses(harness: PodReviewHarness, token: str) -> Callable[[], asyncio.Future[bool]]:
    async def refused() -> bool:
        return not await harness.holds(token)

    return lambda: asyncio.ensure_future(refused())


@pytest.fixture(scope="module")
def fleet(backends: Backends, other_cluster: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A replica that has tokens reviewed; an API key of its own identifies the caller `tester`."""
    folder = tmp_path_factory.mktemp("review")
    other_cluster.reset_keys()
    other_cluster.apply_yaml(fenced("callers.md", "rbac-token-review"))
    with running_fleet(backends, folder, 0) as running:
        running.policy.trust(BrokerPod(other_cluster, folder).issuer(reviewed=True))
        running.policy.matched("review", {"issuer": other_cluster.issuer, "namespace": "review"}, _RULE)
        running.start()
        yield running


async def test_a_broker_requests_reviews(fleet: Fleet, other_cluster: KubeApi) -> None:
    """The broker admits a confirmed caller, and refuses a deleted service account although its token verifies."""
    tenant, [replica] = fleet.tenant(), fleet.replicas
    good, gone = (caller_token(other_cluster, "review", name) for name in ("app", "gone"))
    other_cluster.delete_service_account("review", "gone")
    assert [(await replica.token(tenant.org, key=token)).status for token in (good, gone)] == [200, 401]


async def test_the_documented_rbac_is_needed(fleet: Fleet, other_cluster: KubeApi) -> None:
    """Without the right to create TokenReviews no new caller of the issuer is admitted; with it they are again."""
    tenant, [replica] = fleet.tenant(), fleet.replicas
    root = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/ims-token-broker-token-review"
    other_cluster.delete(root)
    refused = await replica.token(tenant.org, key=caller_token(other_cluster, "review", "app"))
    assert (refused.status, refused.json["code"]) == (503, "identity_unavailable")
    other_cluster.apply_yaml(fenced("callers.md", "rbac-token-review"))
    token = caller_token(other_cluster, "review", "app")

    async def admitted() -> bool:
        return (await replica.token(tenant.org, key=token)).status == 200

    await until_answered(admitted, 10.0)


@pytest.mark.parametrize("outage", ["stopped", "frozen"])
async def test_an_api_server_outage(fleet: Fleet, other_cluster: KubeApi, outage: str) -> None:
    """Confirmed callers and API keys keep working; a new caller gets a 503 with Retry-After within the deadline."""
    tenant, [replica] = fleet.tenant(), fleet.replicas
    known, new = (caller_token(other_cluster, "review", "app", seconds=seconds) for seconds in (3600, 1800))
    assert (await replica.token(tenant.org, key=known)).status == 200
    (other_cluster.stop_server if outage == "stopped" else other_cluster.freeze)()
    try:
        started = time.monotonic()
        refused = await replica.token(tenant.org, key=new)
        took = time.monotonic() - started
        statuses = [(await replica.token(tenant.org, key=key)).status for key in (known, None)]
    finally:
        other_cluster.thaw()
        other_cluster.reset_keys()
    assert (refused.status, refused.json["code"], statuses) == (503, "identity_unavailable", [200, 200])
    assert int(refused.header("Retry-After") or 0) > 0
    assert took < 5.0
