"""A real Kubernetes API server over a real etcd, both on loopback: no kubelet and no controllers.

Objects are admitted (Pod Security included), authorised by RBAC and stored; nothing runs them. So nothing makes a
``default`` service account, publishes the CA, collects garbage, or deletes a pod that is going.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from cryptography.hazmat.primitives.serialization import PrivateFormat

from tests.support.children import Child, free_port, wait_until
from tests.support.keys import new_rsa_key, private_pem
from tests.support.tls import server_certificate
from tests.support.tools import require, skip_or_fail

ISSUER = "https://kubernetes.default.svc.cluster.local"
"""What its service-account tokens say in ``iss``; also the audience that the API server itself takes by default."""

_START_SECONDS = 60.0
_REQUEST_SECONDS = 15.0


class KubeApiError(Exception):
    """The API server refused a request.

    Args:
        status: HTTP status.
        message: The server's message.

    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True)
class KubeAnswer:
    """An answer of the API server: HTTP status and decoded JSON (or the text, if it is not JSON)."""

    status: int
    body: Any


class KubeApi:
    """A running API server. Its methods use the administrator's token unless given another.

    Args:
        folder: The folder for its files.
        issuer: What its service-account tokens say in ``iss``.

    """

    def __init__(self, folder: Path, issuer: str = ISSUER) -> None:
        self.folder = folder
        self.issuer = issuer
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.admin_token = secrets.token_urlsafe(24)
        self._certificate, self._key, self.ca_file = server_certificate(folder)
        self._tokens = folder / "tokens.csv"
        self._tokens.write_text(f'{self.admin_token},admin,admin,"system:masters"\n')
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(self.ca_file)
        self._etcd: Child | None = None
        self._etcd_url = ""
        self._keys: tuple[str, ...] = ()
        self._server: Child | None = None
        self._resources: dict[tuple[str, str], tuple[str, bool]] = {}

    # Its life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start etcd and the API server, which signs with the key ``first``."""
        self._start_etcd()
        self._start_server("first", ["first"])

    def restart(self, signs: str, verifies: Sequence[str] = ()) -> None:
        """Stop the API server and start it on the same port and data with other service-account keys.

        Args:
            signs: Name of the key that signs new tokens; made if it is new.
            verifies: Names of the keys whose tokens it takes and publishes; default: only that one.

        """
        self.stop_server()
        self._start_server(signs, list(verifies) or [signs])

    def reset_keys(self) -> None:
        """Restart with the keys of `start`, unless it has them."""
        if self._server is None or not self._server.alive or self._keys != ("first",):
            self.restart("first")

    def stop_server(self) -> None:
        """Kill the API server, which has all it knows in etcd, and would wait for its clients; etcd stays."""
        if self._server is not None:
            self._server.kill()

    def freeze(self) -> None:
        """Let the API server take connections and answer none, until `thaw`."""
        assert self._server is not None
        self._server.freeze()

    def thaw(self) -> None:
        """Undo `freeze`."""
        assert self._server is not None
        self._server.thaw()

    def stop(self) -> None:
        """Stop both."""
        self.stop_server()
        if self._etcd is not None:
            self._etcd.kill()
        self._session.close()

    # Requests --------------------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        anonymous: bool = False,
        content_type: str = "application/json",
    ) -> KubeAnswer:
        """Any request.

        Args:
            method: HTTP method.
            path: With a leading slash.
            body: Sent as JSON; None for no body.
            token: Bearer token; default: the administrator's.
            anonymous: Whether to send no credential.
            content_type: Content type of the body.

        """
        headers = {} if anonymous else {"Authorization": f"Bearer {token or self.admin_token}"}
        if body is not None:
            headers["Content-Type"] = content_type
        data = None if body is None else json.dumps(body)
        answer = self._session.request(method, self.url + path, data=data, headers=headers, timeout=_REQUEST_SECONDS)
        try:
            return KubeAnswer(answer.status_code, answer.json())
        except ValueError:
            return KubeAnswer(answer.status_code, answer.text)

    def get(self, path: str) -> Any:
        """Read; raises `KubeApiError` if it is refused or absent."""
        return self._done(self.request("GET", path))

    def create(self, path: str, document: Mapping[str, object]) -> Any:
        """Create in the collection at `path`; raises `KubeApiError` if it is refused."""
        return self._done(self.request("POST", path, document))

    def delete(self, path: str) -> None:
        """Delete now, whatever a pod's grace period; raises `KubeApiError` if it is refused or absent."""
        self._done(self.request("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}))

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """``kubectl apply --server-side``; a namespace that is not there is made first."""
        for document in documents:
            namespace = document["metadata"].get("namespace")
            if namespace is not None:
                self.namespace(namespace)
            options = "?fieldManager=tests&force=true"
            path = self.path_of(document) + options
            self._done(self.request("PATCH", path, document, content_type="application/apply-patch+yaml"))

    def apply_yaml(self, text: str) -> None:
        """`apply` each document of a YAML text."""
        self.apply(*(document for document in yaml.safe_load_all(text) if document is not None))

    def path_of(self, document: Mapping[str, Any]) -> str:
        """Where an object is read, changed and deleted."""
        version, kind, metadata = str(document["apiVersion"]), str(document["kind"]), document["metadata"]
        plural, namespaced = self._resource(version, kind)
        space = f"/namespaces/{metadata.get('namespace', 'default')}" if namespaced else ""
        return f"{_root(version)}{space}/{plural}/{metadata['name']}"

    # What tests need in it -------------------------------------------------------------------------------------------

    def namespace(self, name: str, **labels: str) -> str:
        """Make a namespace with its ``default`` service account, if it is missing; its name."""
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        answer = self.request("POST", "/api/v1/namespaces", document)
        if answer.status != requests.codes.conflict:
            self._done(answer)
            self.create_service_account(name, "default")
        return name

    def restricted_namespace(self, name: str) -> str:
        """Make a namespace in which Pod Security enforces ``restricted``; its name."""
        return self.namespace(name, **{"pod-security.kubernetes.io/enforce": "restricted"})

    def create_service_account(self, namespace: str, name: str) -> str:
        """Make a service account if it is missing (its namespace too); its user name."""
        if name != "default":
            self.namespace(namespace)
        document = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        answer = self.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", document)
        if answer.status != requests.codes.conflict:
            self._done(answer)
        return f"system:serviceaccount:{namespace}:{name}"

    def delete_service_account(self, namespace: str, name: str) -> None:
        """Delete a service account."""
        self.delete(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}")

    def create_pod(self, namespace: str, name: str, service_account: str) -> None:
        """Store a pod that nothing will run, for tokens that are bound to it."""
        container = {"name": "app", "image": "registry.invalid/app:1"}
        spec = {"serviceAccountName": service_account, "containers": [container]}
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.create(f"/api/v1/namespaces/{namespace}/pods", document)

    def token_request(
        self, namespace: str, name: str, audience: str | None = None, seconds: int = 3600, pod: str | None = None
    ) -> str:
        """A new token of a service account, as the kubelet asks for one to project it into a pod.

        Args:
            namespace: Namespace of the service account.
            name: Name of the service account.
            audience: Who it is for; default: the API server.
            seconds: How long it lives; the API server grants no less than 600.
            pod: A pod to bind it to.

        """
        spec: dict[str, object] = {"expirationSeconds": seconds}
        if audience is not None:
            spec["audiences"] = [audience]
        if pod is not None:
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": pod}
        answer = self.create(
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
        )
        return str(answer["status"]["token"])

    def jwks(self) -> bytes:
        """The public keys that it takes at present."""
        return self._session.get(
            f"{self.url}/openid/v1/jwks",
            headers={"Authorization": f"Bearer {self.admin_token}"},
            timeout=_REQUEST_SECONDS,
        ).content

    def kubeconfig(self, path: Path, token: str | None = None, namespace: str = "default") -> Path:
        """Write a kubeconfig file for `helm` and others; default: as the administrator."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "tests", "cluster": {"server": self.url, "certificate-authority": str(self.ca_file)}}
            ],
            "users": [{"name": "tests", "user": {"token": token or self.admin_token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests", "namespace": namespace}}],
            "current-context": "tests",
        }
        path.write_text(yaml.safe_dump(document))
        path.chmod(0o600)
        return path

    # Inside ----------------------------------------------------------------------------------------------------------

    def _start_etcd(self) -> None:
        binary = shutil.which("etcd")
        if binary is None:
            skip_or_fail("etcd is missing; install it (on Debian: etcd-server)")
        clients, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._etcd_url = clients
        command = [
            binary,
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
        ]
        self._etcd = Child("etcd", command, self.folder, _environment(self.folder))
        self._etcd.launch()

    def _start_server(self, signs: str, verifies: Sequence[str]) -> None:
        command = [
            str(require("kube-apiserver")),
            f"--etcd-servers={self._etcd_url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self.port}",
            f"--tls-cert-file={self._certificate}",
            f"--tls-private-key-file={self._key}",
            f"--token-auth-file={self._tokens}",
            "--authorization-mode=RBAC",
            f"--service-account-issuer={self.issuer}",
            f"--service-account-signing-key-file={self._key_file(signs)}",
            *(f"--service-account-key-file={self._key_file(name)}" for name in verifies),
            "--service-cluster-ip-range=10.96.0.0/16",
        ]
        server = self._server = Child("kube-apiserver", command, self.folder, _environment(self.folder))
        server.launch()
        self._keys = tuple(verifies)
        wait_until(
            lambda: self._is_ready() or not server.alive,
            f"the API server does not start: {server.tail()}",
            _START_SECONDS,
        )
        if not server.alive:
            pytest.fail(f"the API server ended at its start: {server.tail()}", pytrace=False)

    def _is_ready(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return self.request("GET", "/readyz").status == requests.codes.ok
        return False

    def _key_file(self, name: str) -> Path:
        path = self.folder / f"service-account-{name}.key"
        if not path.exists():
            key = new_rsa_key(label=f"{self.folder}/{name}")
            path.write_text(private_pem(key, PrivateFormat.TraditionalOpenSSL))
        return path

    def _resource(self, version: str, kind: str) -> tuple[str, bool]:
        if (version, kind) not in self._resources:
            for resource in self.get(_root(version))["resources"]:
                if "/" not in resource["name"]:
                    self._resources[version, resource["kind"]] = (resource["name"], resource["namespaced"])
        return self._resources[version, kind]

    def _done(self, answer: KubeAnswer) -> Any:
        if answer.status >= 400:
            message = answer.body.get("message") if isinstance(answer.body, dict) else answer.body
            raise KubeApiError(answer.status, str(message))
        return answer.body


@contextlib.contextmanager
def running_kube_api(issuer: str = ISSUER) -> Iterator[KubeApi]:
    """A server for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="kube-") as folder:
        api = KubeApi(Path(folder), issuer)
        try:
            api.start()
            yield api
        finally:
            api.stop()


@pytest.fixture(scope="session")
def kube_api() -> Iterator[KubeApi]:
    """One server for all tests of the run; each test uses namespaces of its own in it, and does not restart it."""
    with running_kube_api() as api:
        yield api


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _environment(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
