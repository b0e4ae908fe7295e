"""Signing with a key in a real Vault's transit engine."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from app.adapters.vault import VaultConfig, VaultSession, VaultTransitSigner
from app.domain.assertion import assertion_claims
from app.domain.credential import JwtCredential
from app.domain.credential_document import parse_credential
from app.domain.dependency_errors import CredentialStoreError
from app.domain.tenant_errors import CredentialMisconfiguredError
from tests.support.documents import ALLOWED, jwt_document, ref_of, without
from tests.support.recorded_events import RecordedEvents
from tests.support.vault_server import VaultServer

_numbers = itertools.count()
REF = ref_of(0xB0000)


@pytest.fixture
async def session(vault_server: VaultServer) -> AsyncIterator[VaultSession]:
    """A session of a broker with the documented policy."""
    token = vault_server.token(vault_server.reader_policy())
    session = VaultSession(VaultConfig(addr=vault_server.addr, token=token), RecordedEvents())
    yield session
    await session.aclose()


@pytest.fixture
def key() -> str:
    """Name of a key that no other test uses."""
    return f"tenant.{next(_numbers)}"


def credential(key: str) -> JwtCredential:
    """A service account whose key is in Vault."""
    document = {**without(jwt_document(REF), "private_key"), "transit_key": key}
    parsed = parse_credential(document, REF, "1", ALLOWED)
    assert isinstance(parsed, JwtCredential)
    return parsed


def rsa_key(pem: str) -> RSAPublicKey:
    """The public key in `pem`."""
    key = load_pem_public_key(pem.encode())
    assert isinstance(key, RSAPublicKey)
    return key


async def test_signature(vault_server: VaultServer, session: VaultSession, key: str) -> None:
    """The assertion verifies with the public key, and carries the claims unchanged."""
    public_key = rsa_key(vault_server.transit_key(key))
    account = credential(key)
    claims = assertion_claims(account, account.scopes, now=4_000_000_000.0)
    token = await VaultTransitSigner(session, "transit").sign(account, claims)
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT"}
    audience = str(claims["aud"])
    assert jwt.decode(token, public_key, algorithms=["RS256"], audience=audience) == claims


async def test_rotated_key(vault_server: VaultServer, session: VaultSession, key: str) -> None:
    """After a rotation in Vault the newest version of the key signs."""
    vault_server.transit_key(key)
    vault_server.write(f"transit/keys/{key}/rotate")
    newest = vault_server.read(f"transit/keys/{key}")["data"]["keys"]["2"]["public_key"]
    token = await VaultTransitSigner(session, "transit").sign(credential(key), {"sub": "x"})
    assert jwt.decode(token, rsa_key(newest), algorithms=["RS256"]) == {"sub": "x"}


async def test_pinned_version(vault_server: VaultServer, session: VaultSession, key: str) -> None:
    """A version that the credential names goes on signing after a rotation in Vault."""
    first = vault_server.transit_key(key)
    vault_server.write(f"transit/keys/{key}/rotate")
    token = await VaultTransitSigner(session, "transit").sign(credential(f"{key}:1"), {"sub": "x"})
    assert jwt.decode(token, rsa_key(first), algorithms=["RS256"]) == {"sub": "x"}


async def test_missing_version(vault_server: VaultServer, session: VaultSession, key: str) -> None:
    """A version that the key does not have is an error in the document."""
    vault_server.transit_key(key)
    with pytest.raises(
        CredentialMisconfiguredError, match="transit_key: must name an RSA key of Vault's transit engine, and after a"
    ):
        await VaultTransitSigner(session, "transit").sign(credential(f"{key}:2"), {})


async def test_missing_key(session: VaultSession) -> None:
    """A key that does not exist is an error in the document."""
    with pytest.raises(CredentialMisconfiguredError) as caught:
        await VaultTransitSigner(session, "transit").sign(credential("absent"), {})
    assert caught.value.field == "transit_key"


async def test_key_of_another_type(vault_server: VaultServer, session: VaultSession, key: str) -> None:
    """A key that is not RSA never signs an assertion, and the error says so."""
    vault_server.transit_key(key, kind="ecdsa-p256")
    with pytest.raises(CredentialMisconfiguredError, match="transit_key: names a key that is not RSA"):
        await VaultTransitSigner(session, "transit").sign(credential(key), {})


async def test_policy(vault_server: VaultServer, key: str) -> None:
    """If the policy forbids the key, the error says so."""
    vault_server.transit_key(key)
    config = VaultConfig(addr=vault_server.addr, token=vault_server.token("default"))
    session = VaultSession(config, RecordedEvents())
    with pytest.raises(CredentialStoreError, match="policy does not allow the broker to sign"):
        await VaultTransitSigner(session, "transit").sign(credential(key), {})
    await session.aclose()


async def test_private_key_in_the_document(session: VaultSession) -> None:
    """A credential without a transit key is refused before any call to Vault."""
    parsed = parse_credential(json.loads(json.dumps(jwt_document(REF))), REF, "1", ALLOWED)
    assert isinstance(parsed, JwtCredential)
    with pytest.raises(CredentialMisconfiguredError):
        await VaultTransitSigner(session, "transit").sign(parsed, {})
