"""Containers of the image, as restricted as Kubernetes would have them, or more."""

from __future__ import annotations

import http.client
import json
import signal
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from app.cli.caller import policy_lines
from app.domain.api_key import api_key_sha256
from tests.support.backends import SandboxBackend, sandbox_backend
from tests.support.children import free_port
from tests.support.image import STOP_SECONDS, USER, Container, Image, Mount
from tests.support.tenants import Tenant

API_KEY = "itb_image_" + "k" * 43
LISTENING = r"^listening on http://127\.0\.0\.1:(\d+)$"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxBackend]:
    """An IMS outside of the container."""
    with sandbox_backend(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(scope="module")
def tenant(sandbox: SandboxBackend) -> Tenant:
    """A tenant that this IMS knows."""
    made = Tenant(sandbox.base_url)
    sandbox.put_client(made.client())
    return made


@pytest.fixture(scope="module")
def mounts(tenant: Tenant, tmp_path_factory: pytest.TempPathFactory) -> list[Mount]:
    """Policy and credentials, readable and no more."""
    folder = tmp_path_factory.mktemp("mounted")
    policy, credentials = folder / "policy.yaml", folder / "credentials"
    policy.write_text(f"version: 1\ncallers:\n{policy_lines('image', api_key_sha256(API_KEY), [tenant.org])}")
    document = credentials / tenant.org / "default.json"
    document.parent.mkdir(parents=True)
    document.write_text(json.dumps(tenant.document()))
    for path in (credentials, document.parent):
        path.chmod(0o755)
    for path in (policy, document):
        path.chmod(0o644)
    return [Mount(policy, "/etc/ims-token-broker/policy/policy.yaml"), Mount(credentials, "/credentials")]


@pytest.fixture
def settings(sandbox: SandboxBackend) -> dict[str, str]:
    """Settings of a broker with credentials in a folder and tokens in memory, on a port of its own."""
    return {
        "PORT": str(free_port()),  # not 0: the health check must know it
        "POLICY_FILE": "/etc/ims-token-broker/policy/policy.yaml",
        "CREDENTIAL_STORE": "directory",
        "CREDENTIAL_DIR": "/credentials",
        "IMS_BASE_URLS": sandbox.base_url,
    }


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of an answer to the caller."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {API_KEY}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def vends(container: Container, tenant: Tenant) -> None:
    """See that a broker lives, and that it hands out a token."""
    port = int(container.said(LISTENING)[1])
    assert get(port, "/livez")[0] == 200
    status, body = get(port, f"/token?org={quote(tenant.org)}")
    assert status == 200, body
    assert json.loads(body)["org_id"] == tenant.org


def stops_cleanly(container: Container) -> None:
    """See that SIGTERM ends it in time and without a complaint."""
    begun = time.monotonic()
    assert container.stop() == 0
    assert time.monotonic() - begun < STOP_SECONDS
    assert "Traceback" not in container.output


def test_serve_runs_restricted(image: Image, settings: dict[str, str], mounts: list[Mount], tenant: Tenant) -> None:
    """`serve` vends as uid 65532 with a read-only root and no capability, and ends with exit code 0 at SIGTERM."""
    with image.run("serve", settings=settings, mounts=mounts) as container:
        vends(container, tenant)
        status = container.status()
        stops_cleanly(container)
    assert status["Uid"].split() == status["Gid"].split() == [str(USER)] * 4
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_any_uid_will_do(image: Image, settings: dict[str, str], mounts: list[Mount], tenant: Tenant) -> None:
    """`serve` runs under a uid that the image has never heard of, as some clusters assign them."""
    with image.run("serve", settings=settings, mounts=mounts, user=12345) as container:
        vends(container, tenant)
        assert container.status()["Uid"].split()[0] == "12345"
        stops_cleanly(container)


def test_dev_runs_restricted(image: Image) -> None:
    """`dev` vends, although only /tmp can be written, and ends with 0 at SIGTERM."""
    with image.run("dev", "--json") as container:
        said = json.loads(container.said(r"^{.*}$")[0])
        port = int(said["broker"].rpartition(":")[2])
        assert get(port, "/livez")[0] == 200
        stops_cleanly(container)


def test_sandbox_runs_restricted(image: Image) -> None:
    """`sandbox` runs, and ends with 0 at SIGTERM."""
    with image.run("sandbox", "--json", "--port", "0") as container:
        container.said(r"^{.*}$")
        stops_cleanly(container)


def test_nothing_is_written_outside_tmp(
    image: Image, settings: dict[str, str], mounts: list[Mount], tenant: Tenant
) -> None:
    """Even with a writable root file system, and as root, neither `serve` nor `dev` changes anything outside /tmp."""
    with image.run("--version", mounts=mounts, user=0, is_writable=True) as nothing:
        nothing.ended()
        by_the_runtime = nothing.changed()
    with image.run("serve", settings=settings, mounts=mounts, user=0, is_writable=True) as serve:
        vends(serve, tenant)
        assert serve.stop() == 0
        by_serve = serve.changed()
    with image.run("dev", "--json", mounts=mounts, user=0, is_writable=True) as dev:
        dev.said(r"^{.*}$")
        assert dev.stop() == 0
        by_dev = dev.changed()
    assert by_serve | by_dev == by_the_runtime


def test_the_health_check_detects_a_hung_broker(image: Image, settings: dict[str, str], mounts: list[Mount]) -> None:
    """The image's health check passes while the broker answers, and fails while it stands still."""
    command = image.config["Healthcheck"]["Test"][1:]
    with image.run("serve", settings=settings, mounts=mounts) as container:
        container.said(LISTENING)
        healthy = container.exec(*command)
        container.send(signal.SIGSTOP.name)
        frozen = container.exec(*command)
        container.send(signal.SIGCONT.name)
        again = container.exec(*command)
    assert healthy.returncode == 0, healthy
    assert frozen.returncode == 1, frozen
    assert again.returncode == 0, again


def test_a_bad_setting_is_one_sentence(image: Image) -> None:
    """A container without settings ends at once with exit code 2 and one line that says what is missing."""
    with image.run("serve") as container:
        assert container.ended() == 2
        [line] = container.output.splitlines()
    assert "BROKER_POLICY_FILE" in line


def test_the_image_is_small(image: Image) -> None:
    """The files of the image take less than 200 MB; Python takes most of it."""
    print(f"image: {image.size / 1e6:.0f} MB")
    assert image.size < 200e6
