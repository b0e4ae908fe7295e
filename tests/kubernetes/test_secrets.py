"""Tokens of service accounts are secrets: none of them leaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fenced import fenced
from tests.support.fleet import Backends, Fleet, running_fleet
from tests.support.kube_api import KubeApi
from tests.support.kube_fleet import BrokerPod, caller_token, tampered


@pytest.fixture(scope="module")
def fleet(backends: Backends, kube_api: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A replica that logs at every level, and has tokens reviewed."""
    folder = tmp_path_factory.mktemp("secrets")
    kube_api.apply_yaml(fenced("callers.md", "rbac-token-review"))
    with running_fleet(backends, folder, 0) as running:
        running.policy.trust(BrokerPod(kube_api, folder).issuer(reviewed=True))
        running.policy.matched("secret", {"issuer": kube_api.issuer, "namespace": "secret"}, {"orgs": ["*"]})
        running.start(LOG_LEVEL="DEBUG")
        yield running


async def test_no_token_leaks(fleet: Fleet, kube_api: KubeApi) -> None:
    """Neither the callers' tokens nor the broker's own reach a log, the audit log, the metrics or Redis."""
    tenant, [replica] = fleet.tenant(), fleet.replicas
    good, gone = caller_token(kube_api, "secret", "app"), caller_token(kube_api, "secret", "gone")
    kube_api.delete_service_account("secret", "gone")
    shown = [good, gone, tampered(good, sub="x"), caller_token(kube_api, "secret", "app", "vault")]
    statuses = [(await replica.token(tenant.org, key=token)).status for token in shown]
    assert statuses == [200, 401, 401, 401]
    metrics = await replica.get("/metrics")
    assert b'dependency="token_review"' in metrics.body
    replica.process.terminate()
    replica.process.ended()

    told = metrics.body + fleet.redis.contents()
    told += b"".join(file.read_bytes() for file in (replica.process.stdout, replica.process.stderr, replica.audit))
    own = (fleet.folder / "kubernetes-token").read_text()
    for token in (*shown, own):
        for part in token.split("."):
            # Headers are the same for all tokens of a key, and not secret.
            assert part == token.split(".")[0] or part.encode() not in told
