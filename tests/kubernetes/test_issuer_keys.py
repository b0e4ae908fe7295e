"""The keys of a real API server: who may read them, and how a rotation affects issued tokens."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.adapters.jwt_verifier import JwtCallerVerifier, Pace
from app.adapters.jwt_verifier.issuer_keys import DEMAND_INTERVAL, MAX_AGE, REFRESH_INTERVAL
from app.domain.dependency_errors import IdentityUnavailableError
from app.domain.errors import UnauthenticatedError
from app.domain.policy import Policy
from app.domain.policy_document import parse_policy
from tests.support.fenced import fenced
from tests.support.fetches import Fetches
from tests.support.kube_api import KubeApi
from tests.support.kube_fleet import BrokerPod, caller_token
from tests.support.manual_time import ManualTime

_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
_DEFAULT = f"{_BINDINGS}/system:service-account-issuer-discovery"
_OURS = f"{_BINDINGS}/ims-token-broker-jwks"
_LONGEST_INTERVAL = REFRESH_INTERVAL * 1.1


class PodKeysHarness:
    """A verifier in the broker's pod, on a clock that the test advances; tokens are checked against real time."""

    def __init__(self, api: KubeApi, folder: Path) -> None:
        self.pod = BrokerPod(api, folder)
        self.time, self.fetches = ManualTime(), Fetches()
        pace = Pace(self.time.now, self.time.sleep, chance=lambda: 1.0)
        self.verifier = JwtCallerVerifier(time.time, self.fetches, pace)
        self._policy: Policy = parse_policy(
            {
                "version": 1,
                "issuers": [self.pod.issuer()],
                "callers": [
                    {
                        "name": "a",
                        "match": {"issuer": api.issuer, "namespace": "a"},
                        "allow": [{"orgs": ["*"]}],
                    }
                ],
            },
            "v",
        )

    async def start(self) -> None:
        """Trust the cluster, and wait for its keys."""
        self.verifier.trust(self._policy.issuers)
        await self.fetches.reach(1)

    async def outcome_of_next_fetch(self, after: float = _LONGEST_INTERVAL) -> str:
        """Advance the clock, and return the outcome of the fetch that this triggers."""
        count = len(self.fetches.outcomes)
        await self.time.asleep()
        self.time.advance(after)
        await self.fetches.reach(count + 1)
        return self.fetches.outcomes[-1]

    async def verdict(self, token: str) -> str:
        """``good``, ``refused`` or ``unknown``."""
        try:
            await self.verifier.verify(token.encode())
        except UnauthenticatedError:
            return "refused"
        except IdentityUnavailableError:
            return "unknown"
        return "good"


@pytest.fixture
async def harness(other_cluster: KubeApi, tmp_path: Path) -> AsyncIterator[PodKeysHarness]:
    """A verifier that has the cluster's keys."""
    other_cluster.reset_keys()
    made = PodKeysHarness(other_cluster, tmp_path)
    await made.start()
    yield made
    await made.verifier.aclose()


async def test_by_default_every_service_account_reads_the_keys(harness: PodKeysHarness) -> None:
    """The broker's token can read the keys without any RBAC of ours, because the default binding names all accounts."""
    binding = harness.pod.api.get(_DEFAULT)
    assert [(subject["kind"], subject["name"]) for subject in binding["subjects"]] == [
        ("Group", "system:serviceaccounts")
    ]
    assert harness.fetches.outcomes == ["ok"]


async def test_the_documented_rbac_is_the_minimum(harness: PodKeysHarness) -> None:
    """Without the default binding the keys cannot be read and the last good set stays; our binding alone fixes it."""
    token = caller_token(harness.pod.api, "keys", "app")
    binding = harness.pod.api.get(_DEFAULT)
    harness.pod.api.delete(_DEFAULT)
    assert await harness.outcome_of_next_fetch() == "identity_unavailable"
    assert await harness.verdict(token) == "good"
    harness.pod.api.apply_yaml(fenced("callers.md", "rbac-jwks"))
    assert await harness.outcome_of_next_fetch() == "ok"
    harness.pod.api.delete(_OURS)
    assert await harness.outcome_of_next_fetch() == "identity_unavailable"
    harness.time.advance(MAX_AGE + 1)
    assert await harness.verdict(token) == "unknown"
    binding["metadata"].pop("resourceVersion")
    harness.pod.api.create(_BINDINGS, binding)


async def test_the_token_file_is_read_for_each_fetch(harness: PodKeysHarness) -> None:
    """The kubelet may replace the token at any time; if the API server rejects it, the cached keys stay in use."""
    token = caller_token(harness.pod.api, "keys", "app")
    harness.pod.token_file.write_text("stale")
    assert await harness.outcome_of_next_fetch() == "identity_unavailable"
    assert await harness.verdict(token) == "good"
    harness.pod.renew()
    assert await harness.outcome_of_next_fetch() == "ok"


async def test_a_callers_token_cannot_read_the_keys(harness: PodKeysHarness) -> None:
    """The API server rejects tokens for the broker's audience, so a caller's token gives no access to its API."""
    caller = caller_token(harness.pod.api, "keys", "app")
    assert harness.pod.api.request("GET", "/openid/v1/jwks", token=caller).status == 401


async def test_a_rotation_fails_no_request(harness: PodKeysHarness) -> None:
    """While old and new key are published, the first token of the new key triggers a fetch; both keys verify."""
    old = caller_token(harness.pod.api, "keys", "app")
    harness.pod.api.restart("second", ["first", "second"])
    new = caller_token(harness.pod.api, "keys", "app")
    assert [await harness.verdict(token) for token in (old, new, old)] == ["good"] * 3
    assert harness.fetches.outcomes == ["ok", "ok"]


async def test_a_removed_key_is_refused_after_the_next_read(harness: PodKeysHarness) -> None:
    """A key that is no longer published verifies until the keys are read again, 330 s at most, and never after."""
    old = caller_token(harness.pod.api, "keys", "app")
    harness.pod.api.restart("second")
    harness.pod.renew()
    assert await harness.verdict(old) == "good"
    assert await harness.outcome_of_next_fetch(after=330.0) == "ok"
    assert await harness.verdict(old) == "refused"
    assert await harness.verdict(caller_token(harness.pod.api, "keys", "app")) == "good"
    assert _LONGEST_INTERVAL <= 330.0


async def test_a_token_of_a_new_key_reveals_the_removed_key(harness: PodKeysHarness) -> None:
    """A token of the new key triggers a fetch of the new set, so the old key is refused at once."""
    old = caller_token(harness.pod.api, "keys", "app")
    harness.pod.api.restart("second")
    harness.pod.renew()
    new = caller_token(harness.pod.api, "keys", "app")
    assert [await harness.verdict(token) for token in (old, new, old)] == ["good", "good", "refused"]


async def test_an_api_server_outage_affects_only_new_keys(harness: PodKeysHarness, kube_api: KubeApi) -> None:
    """Without the API server the known keys still verify, and a token of an unknown key cannot be verified."""
    known, unknown = caller_token(harness.pod.api, "keys", "app"), caller_token(kube_api, "keys", "app")
    harness.pod.api.stop_server()
    assert [await harness.verdict(token) for token in (known, unknown)] == ["good", "unknown"]
    harness.pod.api.restart("first")
    harness.time.advance(DEMAND_INTERVAL)
    assert [await harness.verdict(token) for token in (known, unknown)] == ["good", "refused"]
