"""The Kubernetes login, against a stand-in that checks the requests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.adapters.vault import VaultConfig, VaultCredentialStore, VaultSession
from app.adapters.vault.login import look_up
from app.domain.dependency_errors import CredentialStoreError
from tests.support.documents import ALLOWED, oauth_document, ref_of
from tests.support.http_stand_in import ReceivedRequest, ScriptedReply, stand_in
from tests.support.recorded_events import RecordedEvents

REF = ref_of(1)


class VaultOfACluster:
    """Accepts the service account tokens in `accepted`, and returns a Vault token for each login."""

    def __init__(self) -> None:
        self.accepted = {"jwt-1"}
        self.logins: list[object] = []
        self.valid = ""

    def __call__(self, seen: ReceivedRequest) -> ScriptedReply:
        """Answer a request."""
        if seen.path == "/v1/auth/cluster-a/login":
            return self._login(json.loads(seen.body))
        if seen.headers.get("x-vault-token") != self.valid:
            return ScriptedReply(403, {"errors": ["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]})
        return ScriptedReply(200, {"data": {"data": oauth_document(REF), "metadata": {"version": 1}}})

    def _login(self, body: dict[str, object]) -> ScriptedReply:
        self.logins.append(body)
        if body["jwt"] not in self.accepted:
            return ScriptedReply(403, {"errors": ["permission denied"]})
        self.valid = f"hvs.{len(self.logins)}"
        return ScriptedReply(200, {"auth": {"client_token": self.valid, "lease_duration": 3600, "renewable": True}})


async def test_the_token_file_is_read_at_each_login(tmp_path: Path) -> None:
    """The login sends the role and the token file's current content, without newline, to the configured mount."""
    file = tmp_path / "token"
    file.write_text("jwt-1\n")
    cluster = VaultOfACluster()
    with stand_in(cluster) as vault:
        config = VaultConfig(
            addr=vault.url, auth="kubernetes", role="broker", kubernetes_token_file=file, auth_mount="cluster-a"
        )
        session = VaultSession(config, RecordedEvents())
        store = VaultCredentialStore(session, "secret", "ims", ALLOWED)
        await store.fetch(REF)
        cluster.valid, cluster.accepted = "revoked", {"jwt-2"}
        file.write_text("jwt-2\n")
        await store.fetch(REF)
        await session.aclose()
    assert cluster.logins == [{"role": "broker", "jwt": "jwt-1"}, {"role": "broker", "jwt": "jwt-2"}]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        ("", "is empty"),
        ("a b", "does not hold a token"),
        ("jwt-9", "BROKER_VAULT_ROLE"),
    ],
)
async def test_refused(tmp_path: Path, content: str | None, told: str) -> None:
    """If the token file is missing or empty, or its token is not accepted, the error says which."""
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with stand_in(VaultOfACluster()) as vault:
        config = VaultConfig(
            addr=vault.url, auth="kubernetes", role="broker", kubernetes_token_file=file, auth_mount="cluster-a"
        )
        session = VaultSession(config, RecordedEvents())
        with pytest.raises(CredentialStoreError, match=told):
            await session.call("lookup", look_up)
        await session.aclose()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"auth": "kubernetes"}, "role"),
        ({"auth": "jwt"}, "role"),
        ({"token": "canary", "cert_file": Path("x")}, "key_file"),
        ({"auth": "approle", "secret_id_file": Path("x")}, "role_id"),
        ({"auth": "approle", "role_id": "x", "secret_id": "canary", "secret_id_file": Path("x")}, "secret_id_file"),
        ({"auth": "token"}, "token_file"),
        ({"auth": "token", "token": "canary", "token_file": Path("x")}, "token_file"),
        ({"token": "canary", "addr": "http://u:canary@h"}, "addr"),
        ({"token": "canary", "addr": "vault:8200"}, "addr"),
    ],
)
def test_incomplete_settings(settings: dict[str, object], named: str) -> None:
    """The error names settings that are missing or contradict each other, without their values."""
    with pytest.raises(ValueError, match=named) as caught:
        VaultConfig(**{"addr": "http://127.0.0.1:1", **settings})  # type: ignore[arg-type]  # wrong on purpose
    assert "canary" not in str(caught.value)
