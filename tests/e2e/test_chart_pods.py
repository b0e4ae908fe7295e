"""The commands of the chart's check and test pods, run against real brokers and real files."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from app.shared_cache.key_ring import new_key_ring
from tests.support.chart import ci_values, render, the, with_value
from tests.support.fleet import Fleet
from tests.support.processes import run_cli
from tests.support.tls import Authority

CA = "/etc/ims-token-broker/tls/ca.crt"


def told(manifest: dict[str, Any], **instead: str) -> list[list[str]]:
    """The arguments of each container, with other texts in the place of some."""
    spec = manifest["spec"] if manifest["kind"] == "Pod" else manifest["spec"]["template"]["spec"]
    return [[instead.get(word, word) for word in container["args"]] for container in spec["containers"]]


async def exit_codes(commands: list[list[str]]) -> list[int]:
    """How each of them ends."""
    return [(await run_cli(*command)).code for command in commands]


async def test_the_test_pod_asks_the_real_service(own_fleet: Fleet, tmp_path: Path) -> None:
    """`helm test` passes against a broker, by HTTP and by HTTPS with its CA; it fails with another CA or no broker."""
    authority = Authority()
    pair = authority.issue()
    for name, content in {"tls.crt": pair.chain, "tls.key": pair.key}.items():
        (tmp_path / name).write_bytes(content)
    trusted, other = tmp_path / "ca.crt", tmp_path / "other.crt"
    trusted.write_bytes(authority.pem)
    other.write_bytes(Authority().pem)
    [plain] = own_fleet.start(1)
    [tls] = own_fleet.start(1, TLS_CERT_FILE=str(tmp_path / "tls.crt"), TLS_KEY_FILE=str(tmp_path / "tls.key"))
    over_http, over_https = the(render(ci_values("default")), "Pod"), the(render(ci_values("tls")), "Pod")
    http, https = (pod["spec"]["containers"][0]["args"][2] for pod in (over_http, over_https))

    assert await exit_codes(told(over_http, **{http: plain.url})) == [0, 0]
    assert await exit_codes(told(over_https, **{https: tls.url, CA: str(trusted)})) == [0, 0]
    assert await exit_codes(told(over_https, **{https: tls.url, CA: str(other)})) == [1, 1]
    plain.process.kill()
    assert await exit_codes(told(over_http, **{http: plain.url})) == [1, 1]


async def test_the_check_job_refuses_what_the_broker_would(tmp_path: Path) -> None:
    """The pre-install Job passes with a good policy and key ring, and fails if either is bad."""
    values = with_value(ci_values("policy-hook"), "policyCheck.initContainer", False)
    manifests = render(values)
    policy, keys, bad = tmp_path / "policy.yaml", tmp_path / "keys.json", tmp_path / "bad"
    policy.write_text(the(manifests, "ConfigMap", "-check")["data"]["policy.yaml"])
    keys.write_text(new_key_ring(secrets.token_bytes, "k1", "2026-01-01T00:00:00Z"))
    bad.write_text("version: 1\ncallerz: []\n")
    job = the(manifests, "Job")
    places = [container["args"][-1] for container in job["spec"]["template"]["spec"]["containers"]]

    assert await exit_codes(told(job, **dict(zip(places, map(str, (policy, keys)), strict=True)))) == [0, 0]
    assert await exit_codes(told(job, **dict(zip(places, map(str, (bad, bad)), strict=True)))) == [1, 1]
