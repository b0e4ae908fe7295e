"""The commands of ``docs/kubernetes.md``, run against real servers, then a pod of the built image.

The pod has the specification that the API server stores after ``helm install``: its restrictions, variables, volumes.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.shared_cache.key_ring import new_key_ring
from tests.support.backends import SandboxBackend, sandbox_backend
from tests.support.children import free_port
from tests.support.fenced import fenced
from tests.support.helm import install_custom_resources
from tests.support.image import Container, Image
from tests.support.kube_api import KubeApi, running_kube_api
from tests.support.pod import Pod
from tests.support.redis_server import RedisServer, running_redis
from tests.support.repository import ROOT
from tests.support.tenants import Tenant
from tests.support.tls import server_certificate
from tests.support.tools import require
from tests.support.vault_server import VaultServer, running_vault

pytestmark = pytest.mark.timeout(900)

PAGE = "kubernetes.md"
NAMESPACE = RELEASE = "ims-token-broker"
ORG = "0123456789ABCDEF01234567@AdobeOrg"
PASSWORD = "canary-password-of-redis"
REVIEWER = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "vault-reviewer"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
    "subjects": [{"kind": "ServiceAccount", "name": "vault", "namespace": "vault"}],
}


@dataclass(frozen=True)
class Site:
    """A cluster with Vault and Redis, as the page requires them, and the IMS sandbox.

    Args:
        folder: The working directory of the commands.
        api: The API server of the cluster.
        vault: Vault.
        redis: Redis with TLS only.
        redis_ca: The CA of its certificate.
        sandbox: The IMS sandbox.

    """

    folder: Path
    api: KubeApi
    vault: VaultServer
    redis: RedisServer
    redis_ca: Path
    sandbox: SandboxBackend

    def do(self, block: str) -> str:
        """Run a block of the page in a shell with administrator rights; return its output."""
        return self.shell(fenced(PAGE, block))

    def shell(self, script: str) -> str:
        """Run a script; return its output."""
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.folder / "kubeconfig"),
            "VAULT_ADDR": self.vault.addr,
            "VAULT_TOKEN": self.vault.root_token,
            "KUBERNETES_HOST": self.api.url,
            "REDIS_PASSWORD": PASSWORD,
        }
        done = subprocess.run(
            ["sh", "-eu", "-c", script],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def secret(self, name: str, data: Mapping[str, bytes]) -> None:
        """``kubectl create secret generic``."""
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        metadata = {"name": name, "namespace": NAMESPACE}
        self.api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded})

    def values(self, **changes: Any) -> Path:
        """The page's values with the addresses of this site."""
        values: dict[str, Any] = yaml.safe_load(fenced(PAGE, "values"))
        values["broker"] = {"host": "127.0.0.1", "port": free_port()}
        values["ims"] = {"baseUrls": [self.sandbox.base_url]}
        values["vault"] |= {"addr": self.vault.addr} | changes
        values["redis"] |= {"host": "127.0.0.1", "port": self.redis.port}
        values["policy"]["inline"]["issuers"][0]["jwks_url"] = f"{self.api.url}/openid/v1/jwks"
        path = self.folder / "values.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    def caller_token(self) -> str:
        """A token of the service account that the page's policy names."""
        self.api.create_service_account("marketing", "export")
        return self.api.token_request("marketing", "export", "ims-token-broker")


def put_commands(folder: Path, redis_port: int, redis_ca: Path) -> None:
    """Provide the chart and the programs that the page runs."""
    (folder / "deploy").symlink_to(ROOT / "deploy")
    (folder / "bin").mkdir()
    for name in ("vault", "helm"):
        (folder / "bin" / name).symlink_to(require(name))
    redis_cli = folder / "bin" / "redis-cli"
    redis_cli.write_text(
        f'#!/bin/sh\nexec {shutil.which("redis-cli")} --tls --cacert {redis_ca} -p {redis_port} "$@"\n'
    )
    redis_cli.chmod(0o755)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What the page requires, set up with the page's commands."""
    folder = tmp_path_factory.mktemp("site")
    certificate = server_certificate(folder)
    users = ("user default on nopass ~* &* +@all",)
    with (
        running_kube_api() as api,
        running_vault(tmp_path_factory.mktemp("vault")) as vault,
        running_redis(tls=certificate, acl=users) as redis,
        sandbox_backend(tmp_path_factory.mktemp("sandbox")) as sandbox,
    ):
        put_commands(folder, redis.port, certificate[2])
        api.kubeconfig(folder / "kubeconfig")
        install_custom_resources(api)
        api.create_service_account("vault", "vault")
        api.apply(REVIEWER)
        (folder / "ca.crt").write_bytes(api.ca_file.read_bytes())
        (folder / "reviewer.jwt").write_text(api.token_request("vault", "vault"))
        api.restricted_namespace(NAMESPACE)
        metadata = {"name": "kube-root-ca.crt", "namespace": NAMESPACE}
        # A controller creates this in a real cluster.
        api.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": api.ca_file.read_text()}}
        )
        made = Site(folder, api, vault, redis, certificate[2], sandbox)
        ring = new_key_ring(os.urandom, "k1", "2026-01-01T00:00:00Z")
        made.secret("cache-keys", {"cache-keys.json": ring.encode()})
        made.secret("redis", {"password": PASSWORD.encode(), "ca.crt": certificate[2].read_bytes()})
        made.secret("vault-ca", {"ca.crt": certificate[2].read_bytes()})
        made.do("vault")
        made.do("tenant")
        made.do("redis")
        yield made


@pytest.fixture(scope="module")
def tenant(site: Site) -> Tenant:
    """The page's tenant with real values for the placeholders."""
    made = Tenant(site.sandbox.base_url, org=ORG)
    site.vault.put(made.org, "default", made.document())
    site.sandbox.put_client(made.client())
    return made


def ask(port: int, path: str, token: str | None = None) -> tuple[int, dict[str, Any] | str]:
    """The status and body of a response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        is_json = "json" in (answer.getheader("Content-Type") or "")
        return answer.status, json.loads(text) if is_json else text
    finally:
        connection.close()


def check_broker(site: Site, broker: Container) -> None:
    """Check that only the page's caller gets a token, and that Redis denies no command."""
    port = int(broker.said(r"^listening on http://127\.0\.0\.1:(\d+)$")[1])
    assert ask(port, f"/token?org={ORG}")[0] == 401
    site.api.create_service_account("marketing", "other")
    other = site.api.token_request("marketing", "other", "ims-token-broker")
    assert ask(port, f"/token?org={ORG}", other)[0] == 403
    status, body = ask(port, f"/token?org={ORG}", site.caller_token())
    assert status == 200, (body, broker.output)
    assert isinstance(body, dict)
    assert body["org_id"] == ORG
    assert ask(port, "/readyz")[0] == 200
    metrics = str(ask(port, "/metrics")[1])
    assert 'ims_token_broker_dependency_up{dependency="redis"} 1.0' in metrics
    assert 'ims_token_broker_tokens_vended_total{caller="nightly-export",tier="exchange"} 1.0' in metrics
    assert set(re.findall(r'dependency_calls_total\{dependency="redis",.*outcome="(\w+)"', metrics)) == {"ok"}


def is_restricted(broker: Container) -> bool:
    """Whether its process is not root, has no capability and cannot gain one."""
    status = broker.status()
    return (status["Uid"].split()[0], status["CapEff"], status["NoNewPrivs"]) == ("65532", "0" * 16, "1")


def check_pod(site: Site, image: Image, folder: Path) -> None:
    """Run the Deployment's init containers, then the broker; it vends a token and exits with 0."""
    pod = Pod(site.api, NAMESPACE, RELEASE, folder / "pod")
    for step in pod.init_containers:
        with pod.run(image, step) as container:
            assert container.ended() == 0, container.output
    with pod.run(image) as broker:
        check_broker(site, broker)
        assert is_restricted(broker)
        assert broker.stop() == 0
        assert PASSWORD not in broker.output


def test_an_installation_by_the_page_vends_a_token(site: Site, tenant: Tenant, image: Image, tmp_path: Path) -> None:
    """Installed by the page, the pod logs in with its service account and vends a token to the page's caller."""
    site.values()
    site.do("helm")
    check_pod(site, image, tmp_path)

    tokens = site.vault.living_tokens("service_account_name")
    assert {meta["service_account_name"] for _, meta in tokens} == {RELEASE}
    assert b"itb:" in site.redis.dump()
    assert tenant.client_secrets[0].encode() not in site.redis.dump()


def test_an_upgrade_to_approle_vends_a_token(site: Site, tenant: Tenant, image: Image, tmp_path: Path) -> None:
    """After a `helm upgrade` to AppRole, with the role of the page on least privilege, the pod vends a token."""
    site.redis.flush()
    [role] = [line for line in fenced("least-privilege.md", "vault-roles").splitlines() if "approle" in line]
    site.shell(role)
    path = "auth/approle/role/ims-token-broker"
    role_id = site.vault.read(f"{path}/role-id")["data"]["role_id"]
    secret_id = site.vault.write(f"{path}/secret-id")["data"]["secret_id"]
    site.secret("approle", {"secret_id": secret_id.encode()})
    site.values(auth="approle", roleId=role_id, secretId={"existingSecret": "approle"})
    site.shell(fenced(PAGE, "helm").replace("helm install", "helm upgrade"))
    check_pod(site, image, tmp_path)

    assert site.vault.tokens_of("ims-token-broker")


def test_the_page_has_the_minimum_permissions() -> None:
    """The page's policy, role and Redis rules equal those of the page on least privilege."""
    page = (ROOT / "docs" / PAGE).read_text()
    policy = [line for line in fenced("least-privilege.md", "vault-policy").splitlines() if "lookup-self" not in line]
    roles = [line for line in fenced("least-privilege.md", "vault-roles").splitlines() if "kubernetes" in line]
    acl = fenced("least-privilege.md", "redis-acl").partition("resetchannels")[2].split()
    assert [line for line in [*policy, *roles] if line not in page.splitlines()] == []
    assert fenced(PAGE, "redis").replace('"', "").partition("resetchannels")[2].split() == acl
