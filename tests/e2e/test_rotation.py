"""Credentials that change under load: another kind, another secret, another key, and no caller notices."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from cryptography.x509.oid import NameOID

from app.adapters.vault import VaultConfig, VaultSession, VaultTransitKeys
from tests.support.fleet import Fleet, outcomes
from tests.support.keys import key_pair
from tests.support.recorded_events import RecordedEvents
from tests.support.tenants import Tenant, new_secret
from tests.support.traffic import Traffic, traffic
from tests.support.wire import Reply

RATE = 50.0
"""Requests per second over all replicas."""

NOTICE = 2.0
"""Seconds within which a purge is known everywhere."""


async def test_kind_and_secret_change_under_load_without_a_failure(fleet: Fleet) -> None:
    """A credential turns from jwt into oauth_server_to_server, its secret and key rotate, and every answer is 200."""
    tenant = fleet.tenant(kind="jwt")

    async def ask(number: int) -> Reply:
        return await fleet.replicas[number % 3].token(tenant.org)

    async with traffic(ask, RATE) as seen:
        await asyncio.sleep(0.5)
        # Another key pair, as `cert rotate` makes it.
        tenant = await _changed(fleet, tenant.changed(key=key_pair("rotated")), seen)
        # Adobe converts the credential: the client id stays, the assertion is refused from now on.
        tenant = await _changed(fleet, tenant.changed(kind="oauth_server_to_server"), seen)
        old, new = tenant.client_secrets[0], new_secret()
        # Adobe takes both secrets for a while; the document names both, then only the new one.
        fleet.register(tenant.changed(known_secrets=(old, new)))
        tenant = await _changed(fleet, tenant.changed(client_secrets=(old, new)), seen)
        tenant = await _changed(fleet, tenant.changed(client_secrets=(new,)), seen)
    assert seen.failures() == []
    assert len(seen.replies) > 300
    assert set(outcomes(fleet.exchanges(tenant))) == {"issued"}


async def _changed(fleet: Fleet, tenant: Tenant, seen: Traffic) -> Tenant:
    """Change document and client, purge, and see all replicas answer with the new generation."""
    generation = str(fleet.store(tenant))
    fleet.register(tenant)
    assert (await fleet.replicas[0].purge(tenant.org)).status == 204
    purged = time.monotonic()
    await asyncio.sleep(NOTICE + 0.5)
    late = seen.since(purged + NOTICE)
    assert len(late) > RATE / 4
    assert {reply.json["generation"] for reply in late} == {generation}
    return tenant


async def test_a_refused_first_secret_falls_over_to_the_second(fleet: Fleet) -> None:
    """A document with an old and a new secret works with either at IMS, and no second exchange is wasted on the old."""
    tenant = fleet.tenant()
    new = new_secret()
    fleet.store(tenant.changed(client_secrets=(tenant.client_secrets[0], new)))
    fleet.register(tenant.changed(client_secrets=(new,)))
    replica = fleet.replicas[0]
    for _ in range(3):
        assert (await replica.token(tenant.org)).status == 200
        assert (await replica.purge(tenant.org)).status == 204
    assert outcomes(fleet.exchanges(tenant)) == ["invalid_client", "issued", "issued", "issued"]


async def test_a_rejected_credential_is_distinguished_from_an_outage(fleet: Fleet) -> None:
    """A secret that IMS refuses is a 502 with the IMS error, not a 503; once the document is right it works at once."""
    tenant = fleet.tenant()
    right = tenant.client_secrets
    fleet.store(tenant.changed(client_secrets=(new_secret(),)))
    replica = fleet.replicas[0]
    reply = await replica.token(tenant.org)
    assert (reply.status, reply.json["code"]) == (502, "credential_rejected")
    assert "invalid_client" in reply.json["detail"]
    fleet.store(tenant.changed(client_secrets=right))
    assert (await replica.token(tenant.org)).status == 200


async def test_a_transit_key_signs_without_leaving_vault(fleet: Fleet) -> None:
    """A credential whose key lives in Vault's transit engine gets tokens as any other; with another key it does not."""
    tenant = fleet.tenant(kind="jwt")
    document = tenant.document()
    del document["private_key"]
    fleet.vault.put(tenant.org, "default", {**document, "transit_key": tenant.client_id})
    public_key = fleet.vault.transit_key(tenant.client_id)
    refused = await fleet.replicas[0].token(tenant.org)
    assert (refused.status, refused.json["code"]) == (502, "credential_rejected")
    fleet.sandbox.put_client({**tenant.client(), "certificates": [_certificate_of(public_key)]})
    assert (await fleet.replicas[0].token(tenant.org)).status == 200


async def test_a_key_that_was_moved_into_vault_needs_no_new_certificate(fleet: Fleet) -> None:
    """After its private key was moved into Vault and out of its document, a tenant gets tokens as before."""
    tenant = fleet.tenant(kind="jwt")
    session = VaultSession(VaultConfig(addr=fleet.vault.addr, token=fleet.vault.root_token), RecordedEvents())
    async with aclosing(session):
        await VaultTransitKeys(session, "transit").import_key(tenant.client_id, tenant.key.pkcs8)
    document = tenant.document()
    del document["private_key"]
    fleet.vault.put(tenant.org, "default", {**document, "transit_key": tenant.client_id})
    assert (await fleet.replicas[0].token(tenant.org)).status == 200


def _certificate_of(public_pem: str) -> str:
    """A certificate of a public key, signed with another key: its own is in Vault."""
    key = load_pem_public_key(public_pem.encode())
    assert isinstance(key, RSAPublicKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "transit")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
    return builder.sign(key_pair().key, SHA256()).public_bytes(Encoding.PEM).decode()
