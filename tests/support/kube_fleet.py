"""What a broker has in its pod to know callers by Kubernetes identity, next to a real API server."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import yaml

from tests.support.fenced import fenced
from tests.support.kube_api import KubeApi

AUDIENCE = "ims-token-broker"
NAMESPACE, ACCOUNT = "ims-token-broker", "ims-token-broker"
"""The broker's own, as in the documents."""


def documented_policy() -> dict[str, Any]:
    """The policy of ``docs/callers.md``."""
    policy: dict[str, Any] = yaml.safe_load(fenced("callers.md", "policy"))
    return policy


class BrokerPod:
    """The files of the broker's pod: the cluster's CA, and a token for the API server.

    Args:
        api: The API server.
        folder: The folder for the files.

    """

    def __init__(self, api: KubeApi, folder: Path) -> None:
        self.api = api
        self.token_file = folder / "kubernetes-token"
        api.create_service_account(NAMESPACE, ACCOUNT)
        self.renew()

    def renew(self) -> None:
        """What the kubelet does when the token's life nears its end."""
        self.token_file.write_text(self.api.token_request(NAMESPACE, ACCOUNT))

    def issuer(self, *, reviewed: bool = False) -> dict[str, object]:
        """The documented issuer, with this server's URL and files."""
        [entry] = documented_policy()["issuers"]
        files = {"ca_file": str(self.api.ca_file), "token_file": str(self.token_file)}
        issuer: dict[str, object] = {**entry, "issuer": self.api.issuer, "jwks_url": f"{self.api.url}/openid/v1/jwks"}
        issuer |= {f"jwks_{name}": path for name, path in files.items()}
        if reviewed:
            issuer["token_review_url"] = f"{self.api.url}/apis/authentication.k8s.io/v1/tokenreviews"
            issuer |= {f"token_review_{name}": path for name, path in files.items()}
        return issuer


def caller_token(api: KubeApi, namespace: str, name: str, audience: str | None = AUDIENCE, **options: Any) -> str:
    """A token of a service account that is made if it is missing."""
    api.create_service_account(namespace, name)
    return api.token_request(namespace, name, audience, **options)


def resigned(api: KubeApi, token: str, key: str = "first", **changes: object) -> str:
    """The same token with other claims, signed with a key of the API server: what it would not issue itself."""
    header = jwt.get_unverified_header(token)
    claims = {**jwt.decode(token, options={"verify_signature": False}), **changes}
    private = (api.folder / f"service-account-{key}.key").read_text()
    return jwt.encode(claims, private, algorithm="RS256", headers={"kid": header["kid"]})


def tampered(token: str, **changes: object) -> str:
    """The same token with other claims and the old signature."""
    header, payload, signature = token.split(".")
    claims: Mapping[str, object] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    changed = base64.urlsafe_b64encode(json.dumps({**claims, **changes}).encode()).rstrip(b"=").decode()
    return f"{header}.{changed}.{signature}"
