"""Moving private keys into a real Vault's transit engine."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat, load_pem_public_key

from app.adapters.certificates import certificate_facts
from app.adapters.vault import VaultConfig, VaultSession, VaultTransitKeys, VaultTransitSigner
from app.domain.dependency_errors import CredentialStoreError
from app.domain.tenant_errors import CredentialMisconfiguredError
from tests.support.fenced import fenced
from tests.support.grants import jwt_credential
from tests.support.keys import PASSPHRASE, ec_pem, key_pair, new_rsa_key, private_pem
from tests.support.recorded_events import RecordedEvents
from tests.support.vault_server import VaultServer

PAIR, OTHER = key_pair(), key_pair("other")
_numbers = itertools.count()


@pytest.fixture
async def session(vault_server: VaultServer) -> AsyncIterator[VaultSession]:
    """A session of a command with the documented policy, and of the broker's own lines only that which signs."""
    policy = [*fenced("least-privilege.md", "vault-transit-policy").splitlines()]
    sign = next(line for line in fenced("least-privilege.md", "vault-policy").splitlines() if "sign" in line)
    vault_server.write("sys/policies/acl/importer", policy="\n".join([*policy, sign]))
    session = VaultSession(VaultConfig(addr=vault_server.addr, token=vault_server.token("importer")), RecordedEvents())
    yield session
    await session.aclose()


@pytest.fixture
def keys(session: VaultSession) -> VaultTransitKeys:
    """What is tested."""
    return VaultTransitKeys(session, "transit")


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"moved.{next(_numbers)}"


@pytest.mark.parametrize(
    ("pem", "passphrase"),
    [(PAIR.pkcs8, None), (PAIR.pkcs1_crlf, None), (PAIR.encrypted, PASSPHRASE), (PAIR.encrypted_pkcs1, PASSPHRASE)],
    ids=["PKCS#8", "PKCS#1", "encrypted", "encrypted PKCS#1"],
)
async def test_a_moved_key_signs(
    session: VaultSession, keys: VaultTransitKeys, name: str, pem: str, passphrase: str | None
) -> None:
    """A key that was moved into Vault signs there, and its old public key verifies the assertion."""
    await keys.import_key(name, pem, passphrase)
    credential = jwt_credential(private_key=None, transit_key=name)
    token = await VaultTransitSigner(session, "transit").sign(credential, {"sub": "x"})
    assert jwt.decode(token, PAIR.key.public_key(), algorithms=["RS256"]) == {"sub": "x"}


async def test_a_moved_key_stays_there(vault_server: VaultServer, keys: VaultTransitKeys, name: str) -> None:
    """Vault does not export a moved key, and does not replace it by one that Adobe does not know."""
    await keys.import_key(name, PAIR.pkcs8)
    stored = vault_server.read(f"transit/keys/{name}")["data"]
    options = ("type", "exportable", "allow_plaintext_backup", "imported_key_allow_rotation")
    assert [stored[option] for option in options] == ["rsa-2048", False, False, False]
    assert vault_server.status_as(vault_server.root_token, f"transit/export/signing-key/{name}") == 400
    assert vault_server.status_as(vault_server.root_token, f"transit/keys/{name}/rotate", {}) == 500


@pytest.mark.parametrize("bits", [3072, 4096])
async def test_larger_keys(vault_server: VaultServer, keys: VaultTransitKeys, name: str, bits: int) -> None:
    """The type in Vault is the size of the key."""
    await keys.import_key(name, private_pem(new_rsa_key(bits), PrivateFormat.PKCS8))
    assert vault_server.read(f"transit/keys/{name}")["data"]["type"] == f"rsa-{bits}"


async def test_it_belongs_to_its_certificate(keys: VaultTransitKeys, name: str) -> None:
    """The public half in Vault is equal to that of the key's certificate, and not to that of another."""
    await keys.import_key(name, PAIR.pkcs8)
    public_key = await keys.public_key(name)
    assert certificate_facts(PAIR.certificate).belongs_to(public_key)
    assert not certificate_facts(OTHER.certificate).belongs_to(public_key)


async def test_public_key_of_a_version(vault_server: VaultServer, keys: VaultTransitKeys, name: str) -> None:
    """The public key is that of the version which signs: the one that is named, or else the latest."""
    first = vault_server.transit_key(name)
    vault_server.write(f"transit/keys/{name}/rotate")
    key = load_pem_public_key(first.encode())
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert await keys.public_key(f"{name}:1") == der
    assert await keys.public_key(name) == await keys.public_key(f"{name}:2") != await keys.public_key(f"{name}:1")


async def test_moving_it_again_changes_nothing(vault_server: VaultServer, keys: VaultTransitKeys, name: str) -> None:
    """A command that was interrupted can be run again: a key that is there already is success."""
    await keys.import_key(name, PAIR.pkcs8)
    before = vault_server.read(f"transit/keys/{name}")["data"]
    await keys.import_key(name, PAIR.pkcs1)
    assert vault_server.read(f"transit/keys/{name}")["data"] == before


async def test_the_name_of_another_key(keys: VaultTransitKeys, name: str) -> None:
    """Another key is never replaced."""
    await keys.import_key(name, PAIR.pkcs8)
    with pytest.raises(CredentialMisconfiguredError, match="transit_key: is the name of another key in Vault"):
        await keys.import_key(name, OTHER.pkcs8)
    assert certificate_facts(PAIR.certificate).belongs_to(await keys.public_key(name))


@pytest.mark.parametrize(
    ("pem", "passphrase", "message"),
    [
        (ec_pem(), None, "private_key: must be an RSA key with one of 2048, 3072, 4096 bits"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", None, "private_key: is not a private key"),
        (PAIR.encrypted, None, "private_key_passphrase: is missing"),
        (PAIR.encrypted, "wrong", "private_key_passphrase: does not decrypt"),
    ],
)
async def test_unusable_keys(keys: VaultTransitKeys, name: str, pem: str, passphrase: str | None, message: str) -> None:
    """What Vault cannot keep, or what no passphrase opens, is refused with the field and what is wrong."""
    with pytest.raises(CredentialMisconfiguredError, match=message):
        await keys.import_key(name, pem, passphrase)
    with pytest.raises(CredentialMisconfiguredError, match="transit_key: must name a key"):
        await keys.public_key(name)


async def test_other_types(vault_server: VaultServer, keys: VaultTransitKeys, name: str) -> None:
    """The public key of a key that is not RSA is refused, with its type."""
    vault_server.transit_key(name, kind="ecdsa-p256")
    with pytest.raises(CredentialMisconfiguredError, match="transit_key: names a key of type ecdsa-p256"):
        await keys.public_key(name)


async def test_missing_version(vault_server: VaultServer, keys: VaultTransitKeys, name: str) -> None:
    """A version that a key does not have is refused, and none can be imported."""
    vault_server.transit_key(name)
    with pytest.raises(CredentialMisconfiguredError, match="transit_key: must name a key, or a version"):
        await keys.public_key(f"{name}:2")
    with pytest.raises(CredentialMisconfiguredError, match="transit_key: must not name a version"):
        await keys.import_key(f"{name}:2", PAIR.pkcs8)


async def test_policy(vault_server: VaultServer, name: str) -> None:
    """If the policy forbids an import, the error names the document that has the lines."""
    session = VaultSession(VaultConfig(addr=vault_server.addr, token=vault_server.token("default")), RecordedEvents())
    with pytest.raises(CredentialStoreError, match=r"does not allow this login to import .*docs/least-privilege\.md"):
        await VaultTransitKeys(session, "transit").import_key(name, PAIR.pkcs8)
    await session.aclose()
