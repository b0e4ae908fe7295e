"""Logins at a real Vault by other means: Vault Proxy and Agent, JWT, and AppRoles without secret id."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any, Literal

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.adapters.vault import VaultConfig
from app.domain.dependency_errors import CredentialStoreError
from app.domain.names import CredentialRef
from tests.support.documents import oauth_document, ref_of
from tests.support.http_stand_in import stand_in
from tests.support.keys import key_pair
from tests.support.vault_broker import FOUND, REF, broker_with, reads
from tests.support.vault_proxy import running_proxy
from tests.support.vault_server import VaultServer

_numbers = itertools.count(0xC0000)
_PUBLIC = key_pair("idp").key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
NO_SECRET_ID = {"bind_secret_id": False, "token_bound_cidrs": ["127.0.0.1/32"]}


@pytest.fixture
def ref(vault_server: VaultServer) -> CredentialRef:
    """A credential that is stored, and that no other test uses."""
    ref = ref_of(next(_numbers))
    vault_server.put(ref.org, ref.name, oauth_document(ref))
    return ref


def role_without_secret_id(server: VaultServer) -> str:
    """The role id of a new AppRole that needs no secret id."""
    name = f"open-{next(_numbers)}"
    server.write(f"auth/approle/role/{name}", token_policies=[server.reader_policy()], **NO_SECRET_ID)
    return str(server.read(f"auth/approle/role/{name}/role-id")["data"]["role_id"])


class TestProxy:
    """A Vault Proxy or Vault Agent that adds its own token."""

    @pytest.mark.parametrize("program", ["proxy", "agent"])
    async def test_reads(
        self, vault_server: VaultServer, ref: CredentialRef, tmp_path: Path, program: Literal["proxy", "agent"]
    ) -> None:
        """A credential is read through it, without a token of the broker."""
        with running_proxy(program, vault_server, tmp_path, role_without_secret_id(vault_server)) as addr:
            async with broker_with(VaultConfig(addr=addr, auth="agent")) as broker:
                assert (await broker.store.fetch(ref)).ref == ref
                assert ref in await broker.store.refs()

    async def test_without_a_token_of_its_own(
        self, vault_server: VaultServer, ref: CredentialRef, tmp_path: Path
    ) -> None:
        """If it adds no token, the error says what to check in its configuration."""
        with running_proxy("proxy", vault_server, tmp_path, None) as addr:
            async with broker_with(VaultConfig(addr=addr, auth="agent")) as broker:
                with pytest.raises(CredentialStoreError, match="use_auto_auth_token"):
                    await broker.store.fetch(ref)

    async def test_no_token_is_sent(self) -> None:
        """The broker sends no token, but the header that such a listener may require."""
        with stand_in(reads(FOUND)) as proxy:
            async with broker_with(VaultConfig(addr=proxy.url, auth="agent")) as broker:
                await broker.store.fetch(REF)
            assert not [seen for seen in proxy.seen if "x-vault-token" in seen.headers]
            assert {seen.headers["x-vault-request"] for seen in proxy.seen} == {"true"}


class TestRoleWithoutSecretId:
    """An AppRole with ``bind_secret_id=false``."""

    async def test_reads(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """Its role id is enough to log in."""
        config = VaultConfig(addr=vault_server.addr, auth="approle", role_id=role_without_secret_id(vault_server))
        async with broker_with(config) as broker:
            assert (await broker.store.fetch(ref)).ref == ref

    async def test_forgotten(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """A role that needs a secret id is refused without one, and the error names the settings."""
        role_id, _ = vault_server.approle(f"bound-{next(_numbers)}", vault_server.reader_policy())
        async with broker_with(VaultConfig(addr=vault_server.addr, auth="approle", role_id=role_id)) as broker:
            with pytest.raises(CredentialStoreError, match="BROKER_VAULT_SECRET_ID_FILE, which only a role with"):
                await broker.store.fetch(ref)


@pytest.fixture(scope="module")
def jwt_mount(vault_server: VaultServer) -> str:
    """A JWT auth method that trusts a key of the tests, with a role for the audience ``vault``."""
    vault_server.write("sys/auth/jwt", type="jwt")
    vault_server.write("auth/jwt/config", jwt_validation_pubkeys=[_PUBLIC])
    vault_server.write(
        "auth/jwt/role/broker",
        role_type="jwt",
        user_claim="sub",
        bound_audiences=["vault"],
        token_policies=[vault_server.reader_policy()],
    )
    return "jwt"


def signed(audience: str) -> str:
    """A JWT for this audience."""
    claims = {"sub": "broker", "aud": audience, "iat": int(time.time()), "exp": int(time.time()) + 600}
    return jwt.encode(claims, key_pair("idp").pkcs8, algorithm="RS256")


class TestJwt:
    """The auth method ``jwt``."""

    @pytest.mark.parametrize("setting", ["token_file", "kubernetes_token_file"])
    async def test_reads(
        self, vault_server: VaultServer, jwt_mount: str, ref: CredentialRef, tmp_path: Path, setting: str
    ) -> None:
        """A JWT in a file logs in; the file is that of the setting for tokens, or else the service account's."""
        file = tmp_path / "jwt"
        file.write_text(f"{signed('vault')}\n")
        settings: dict[str, Any] = {"kubernetes_token_file": tmp_path / "absent", setting: file}
        async with broker_with(VaultConfig(addr=vault_server.addr, auth="jwt", role="broker", **settings)) as broker:
            assert (await broker.store.fetch(ref)).ref == ref

    async def test_wrong_audience(
        self, vault_server: VaultServer, jwt_mount: str, ref: CredentialRef, tmp_path: Path
    ) -> None:
        """A JWT for another audience is refused, and the error says what to check."""
        file = tmp_path / "jwt"
        file.write_text(signed("other"))
        config = VaultConfig(addr=vault_server.addr, auth="jwt", role="broker", token_file=file)
        async with broker_with(config) as broker:
            with pytest.raises(CredentialStoreError, match=r"BROKER_VAULT_ROLE.* audience"):
                await broker.store.fetch(ref)

    async def test_no_such_method(self, vault_server: VaultServer, ref: CredentialRef, tmp_path: Path) -> None:
        """If no auth method is mounted there, the error names the settings of the method and its mount."""
        file = tmp_path / "jwt"
        file.write_text(signed("vault"))
        config = VaultConfig(
            addr=vault_server.addr, auth="jwt", role="broker", token_file=file, auth_mount=f"jwt-{next(_numbers)}"
        )
        async with broker_with(config) as broker:
            with pytest.raises(CredentialStoreError, match="BROKER_VAULT_AUTH_MOUNT"):
                await broker.store.fetch(ref)


class TestFiles:
    """Files of a login that are missing or empty."""

    @pytest.mark.parametrize(
        ("auth", "field", "setting"),
        [
            ("token", "token_file", "BROKER_VAULT_TOKEN_FILE"),
            ("approle", "secret_id_file", "BROKER_VAULT_SECRET_ID_FILE"),
            ("kubernetes", "kubernetes_token_file", "BROKER_VAULT_KUBERNETES_TOKEN_FILE"),
            ("jwt", "token_file", "BROKER_VAULT_TOKEN_FILE"),
            ("jwt", "kubernetes_token_file", "BROKER_VAULT_KUBERNETES_TOKEN_FILE"),
        ],
    )
    @pytest.mark.parametrize(
        ("content", "reason"), [(None, "no such file"), ("\n", "is empty"), ("a b", "hold a token")]
    )
    async def test_named(
        self,
        tmp_path: Path,
        auth: Literal["token", "approle", "kubernetes", "jwt"],
        field: str,
        setting: str,
        content: str | None,
        reason: str,
    ) -> None:
        """The error names the setting of the file and what is wrong with it; nothing is sent."""
        file = tmp_path / "file"
        if content is not None:
            file.write_text(content)
        with stand_in(reads(FOUND)) as vault:
            settings: dict[str, Any] = {"addr": vault.url, "auth": auth, "role_id": "r", "role": "r", field: file}
            config = VaultConfig(**settings)
            async with broker_with(config) as broker:
                with pytest.raises(CredentialStoreError, match=f"{setting} .*{reason}"):
                    await broker.store.fetch(REF)
            assert vault.seen == []
