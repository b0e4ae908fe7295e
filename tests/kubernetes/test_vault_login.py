"""The broker logs in to a real Vault with its service account, which a real API server confirms to Vault."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.adapters.vault import VaultConfig, VaultSession
from app.adapters.vault.login import look_up
from app.domain.dependency_errors import CredentialStoreError
from tests.support.fenced import fenced, vault_write
from tests.support.fleet import Backends, Fleet, running_fleet
from tests.support.kube_api import KubeApi
from tests.support.kube_fleet import tampered
from tests.support.recorded_events import RecordedEvents
from tests.support.vault_server import VaultServer
from tests.support.waiting import until_answered

NAMESPACE = "vault-login"
ACCOUNT = "ims-token-broker"
NEXT = "ims-token-broker-next"
MOUNT = "kubernetes"
ROLE = "ims-token-broker"
AUDIENCE = "vault"

DELEGATOR = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "vault-login-reviewer"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
    "subjects": [{"kind": "ServiceAccount", "name": "vault", "namespace": NAMESPACE}],
}


@dataclass(frozen=True)
class Login:
    """A Vault that knows the service accounts of a cluster."""

    vault: VaultServer
    api: KubeApi

    def token(self, account: str = ACCOUNT, audience: str | None = AUDIENCE) -> str:
        """What the kubelet would project for Vault."""
        self.api.create_service_account(NAMESPACE, account)
        return self.api.token_request(NAMESPACE, account, audience)

    def accounts(self) -> list[str]:
        """The service accounts of the live Vault tokens."""
        return [meta["service_account_name"] for _, meta in self._living()]

    def revoke(self) -> None:
        """Revoke every Vault token of a service account."""
        for accessor, _ in self._living():
            self.vault.revoke_accessor(accessor)

    def _living(self) -> list[tuple[str, dict[str, str]]]:
        return self.vault.living_tokens("service_account_name")


@pytest.fixture(scope="module")
def login(vault_server: VaultServer, kube_api: KubeApi) -> Login:
    """The auth method, set up as in Vault's documentation: with its own reviewer."""
    kube_api.create_service_account(NAMESPACE, "vault")
    kube_api.apply(DELEGATOR)
    vault_server.write(f"sys/auth/{MOUNT}", type="kubernetes")
    vault_server.write(
        f"auth/{MOUNT}/config",
        kubernetes_host=kube_api.url,
        kubernetes_ca_cert=kube_api.ca_file.read_text(),
        token_reviewer_jwt=kube_api.token_request(NAMESPACE, "vault"),
        disable_local_ca_jwt=True,
    )
    vault_server.write(f"sys/policies/acl/{ROLE}", policy=fenced("least-privilege.md", "vault-policy"))
    vault_server.write(f"auth/{MOUNT}/role/{ROLE}", **documented_role())
    return Login(vault_server, kube_api)


def documented_role(**changes: object) -> dict[str, object]:
    """The role in the document, for two accounts in this test's namespace."""
    documented = vault_write("least-privilege.md", "vault-roles", f"auth/{MOUNT}/role/{ROLE}")
    accounts = {
        "bound_service_account_names": [documented["bound_service_account_names"], NEXT],
        "bound_service_account_namespaces": [NAMESPACE],
    }
    return {**documented, **accounts, **changes}


@pytest.fixture
def token_file(login: Login, tmp_path: Path) -> Path:
    """The projected file, with a valid token."""
    file = tmp_path / "vault-token"
    project(file, login.token())
    return file


def project(file: Path, token: str) -> None:
    """Replace the file with one that holds this token, atomically as the kubelet does."""
    draft = file.with_suffix(".new")
    draft.write_text(token + "\n")
    draft.replace(file)


@pytest.fixture
def fleet(backends: Backends, login: Login, token_file: Path, tmp_path: Path) -> Iterator[Fleet]:
    """One replica that logs in with that file."""
    login.revoke()
    with running_fleet(backends, tmp_path, 0) as running:
        del running.settings["VAULT_TOKEN"]
        running.settings |= {
            "VAULT_AUTH": "kubernetes",
            "VAULT_ROLE": ROLE,
            "VAULT_KUBERNETES_TOKEN_FILE": str(token_file),
        }
        running.start()
        yield running


async def test_the_broker_vends_with_its_own_account(fleet: Fleet, login: Login) -> None:
    """A broker with nothing but its projected token logs in and vends."""
    reply = await fleet.replicas[0].token(fleet.tenant().org)
    assert reply.status == 200
    assert login.accounts() == [ACCOUNT]


async def test_the_file_is_read_at_each_login(fleet: Fleet, login: Login, token_file: Path) -> None:
    """When the Vault token ends, the broker logs in with the file's current content, and no request fails."""
    [replica] = fleet.replicas
    assert (await replica.token(fleet.tenant().org)).status == 200
    project(token_file, login.token(NEXT))
    login.revoke()
    assert [(await replica.token(fleet.tenant().org)).status for _ in range(5)] == [200] * 5
    assert login.accounts() == [NEXT]


async def test_a_deleted_account_affects_only_cold_tenants(fleet: Fleet, login: Login, token_file: Path) -> None:
    """Without its service account the broker serves warm tenants, answers others with an error, and logs the outage."""
    warm, [replica] = fleet.tenant(), fleet.replicas

    async def served() -> bool:
        return (await replica.token(fleet.tenant().org)).status == 200

    assert (await replica.token(warm.org)).status == 200
    doomed = login.token(NEXT)
    login.api.delete_service_account(NAMESPACE, NEXT)
    project(token_file, doomed)
    login.revoke()
    refused = await replica.token(fleet.tenant().org)
    assert (refused.status, refused.json["code"]) == (503, "vault_unavailable")
    assert "BROKER_VAULT_ROLE" in str(refused.json["detail"])
    assert (await replica.token(warm.org)).status == 200
    replica.process.said("dependency fails")
    project(token_file, login.token())
    await until_answered(served, 10.0)


@contextlib.asynccontextmanager
async def session(login: Login, token: str, folder: Path, role: str = ROLE) -> AsyncIterator[VaultSession]:
    """A session that logs in with this token."""
    file = folder / secrets.token_hex(4)
    project(file, token)
    config = VaultConfig(addr=login.vault.addr, auth="kubernetes", role=role, kubernetes_token_file=file)
    made = VaultSession(config, RecordedEvents())
    try:
        yield made
    finally:
        await made.aclose()


async def test_only_the_accounts_own_token_for_vault_is_accepted(login: Login, tmp_path: Path) -> None:
    """Another audience, account or namespace, a tampered or a deleted account's token: the error names the role."""
    good, gone = login.token(), login.token(NEXT)
    login.api.delete_service_account(NAMESPACE, NEXT)
    login.api.create_service_account("vault-login-x", ACCOUNT)
    refused = {
        "audience": login.token(audience="ims-token-broker"),
        "default audience": login.token(audience=None),
        "account": login.token("another"),
        "namespace": login.api.token_request("vault-login-x", ACCOUNT, AUDIENCE),
        "tampered": tampered(login.token("another"), sub=f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"),
        "deleted": gone,
    }
    async with session(login, good, tmp_path) as taken:
        await taken.call("lookup", look_up)
    for name, token in refused.items():
        async with session(login, token, tmp_path) as made:
            with pytest.raises(CredentialStoreError, match="BROKER_VAULT_ROLE") as told:
                await made.call("lookup", look_up)
            assert token not in str(told.value), name


@pytest.mark.parametrize(
    ("changes", "stranger"),
    [
        ({"audience": ""}, "audience"),
        ({"bound_service_account_names": ["*"]}, "account"),
        ({"bound_service_account_namespaces": ["*"]}, "namespace"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_every_bound_of_the_role_is_needed(
    login: Login, tmp_path: Path, changes: dict[str, object], stranger: str
) -> None:
    """Without any one of the role's bounds Vault accepts a token that it refuses with it."""
    login.api.create_service_account("vault-login-x", ACCOUNT)
    token = {
        "audience": login.token(audience="ims-token-broker"),
        "account": login.token("another"),
        "namespace": login.api.token_request("vault-login-x", ACCOUNT, AUDIENCE),
    }[stranger]
    wide = f"wide-{stranger}"
    login.vault.write(f"auth/{MOUNT}/role/{wide}", **documented_role(**changes))
    async with session(login, token, tmp_path, role=wide) as made:
        await made.call("lookup", look_up)
    async with session(login, token, tmp_path) as made:
        with pytest.raises(CredentialStoreError):
            await made.call("lookup", look_up)
