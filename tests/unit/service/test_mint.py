"""From a credential to a token: the choice of secret, signer and document."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.credential import Credential, CredentialKind, ExpiresInUnit
from app.domain.errors import InvalidScopeError
from app.domain.events import CertificateSeen
from app.domain.grant import Grant
from app.domain.tenant_errors import CredentialMisconfiguredError, CredentialRejectedError
from tests.factories import KEY, OTHER_KEY, OTHER_REF, REF, make_credential, make_key
from tests.support.replica_in_memory import ReplicaInMemory, World

SECRET_REFUSED = CredentialRejectedError("invalid_client", "debug-1", secret_refused=True)
REJECTED = CredentialRejectedError("invalid_grant", "debug-2")


def secrets_sent(world: World) -> list[str]:
    """The client secrets that were presented, in order."""
    return [grant.form["client_secret"] for grant in world.exchanger.grants]


async def test_a_token_has_the_data_it_was_minted_with(world: World, replica: ReplicaInMemory) -> None:
    """A token has the generation, epoch, kind, scopes and sandbox, and a refresh time at half its lifetime."""
    world.put(make_credential(generation="7", sandbox="prod"))
    token = await replica.minter.mint(KEY, 4)
    assert (token.key, token.generation, token.epoch, token.sandbox) == (KEY, "7", 4, "prod")
    assert token.client_id == make_credential().client_id
    assert token.refresh_at == world.clock() + 43_200
    assert token.scopes == make_credential().scopes


@pytest.mark.parametrize(
    ("kind", "path", "unit"),
    [
        (CredentialKind.JWT, "/ims/exchange/jwt", ExpiresInUnit.MILLISECONDS),
        (CredentialKind.OAUTH_SERVER_TO_SERVER, "/ims/token/v3", ExpiresInUnit.SECONDS),
        (CredentialKind.ENTERPRISE_WEB_APP, "/ims/token/v3", ExpiresInUnit.SECONDS),
    ],
)
async def test_each_kind_goes_to_its_own_endpoint_with_its_own_unit(
    world: World, replica: ReplicaInMemory, kind: CredentialKind, path: str, unit: ExpiresInUnit
) -> None:
    """The unit of the answer depends on the endpoint that the kind calls."""
    world.put(make_credential(kind=kind))
    await replica.minter.mint(KEY, 0)
    [grant] = world.exchanger.grants
    assert grant.url.endswith(path)
    assert grant.credential.expires_in_unit is unit


@pytest.mark.parametrize("transit_key", [None, "tenant-key"])
async def test_the_signer_that_has_the_key_signs(
    world: World, replica: ReplicaInMemory, transit_key: str | None
) -> None:
    """Vault signs for a document with a transit key, the broker for one with a private key; never both."""
    world.put(make_credential(kind=CredentialKind.JWT, transit_key=transit_key))
    await replica.minter.mint(KEY, 0)
    assert len(replica.key_signer.signed) == (0 if transit_key else 1)
    assert len(replica.transit_signer.signed) == (1 if transit_key else 0)


async def test_a_key_without_its_signer_names_its_field_and_the_missing_setting(
    world: World, replica: ReplicaInMemory
) -> None:
    """A broker without Vault refuses a document with a transit key, and names the missing setting."""
    del replica.signers["transit"]
    world.put(make_credential(kind=CredentialKind.JWT, transit_key="tenant-key"))
    with pytest.raises(CredentialMisconfiguredError, match=r"transit_key: needs Vault: BROKER_CREDENTIAL_STORE=vault"):
        await replica.minter.mint(KEY, 0)


async def test_the_second_secret_is_tried_when_the_first_is_refused_and_remembered(
    world: World, replica: ReplicaInMemory
) -> None:
    """A refused first secret costs one extra exchange once, not at every minting."""
    world.put(make_credential(secrets=("first", "second")))
    world.exchanger.refused_secrets["first"] = SECRET_REFUSED
    await replica.minter.mint(KEY, 0)
    await replica.minter.mint(KEY, 0)
    assert secrets_sent(world) == ["first", "second", "second"]


async def test_a_new_document_is_presented_with_its_first_secret(world: World, replica: ReplicaInMemory) -> None:
    """The secret remembered for one generation does not apply to the next."""
    world.put(make_credential(secrets=("first", "second")))
    world.exchanger.refused_secrets["first"] = SECRET_REFUSED
    await replica.minter.mint(KEY, 0)
    world.put(make_credential(generation="2", secrets=("third", "second")))
    await replica.minter.mint(KEY, 0)
    assert secrets_sent(world) == ["first", "second", "third"]


async def test_a_refusal_for_another_reason_does_not_try_the_second_secret(
    world: World, replica: ReplicaInMemory
) -> None:
    """A second secret cannot help a credential whose key or scopes IMS refuses."""
    world.put(make_credential(secrets=("first", "second")))
    world.exchanger.failures[REF.org] = REJECTED
    with pytest.raises(CredentialRejectedError) as rejected:
        await replica.minter.mint(KEY, 0)
    assert rejected.value is REJECTED
    assert secrets_sent(world) == ["first"]


async def test_if_both_secrets_are_refused_the_first_refusal_is_raised(world: World, replica: ReplicaInMemory) -> None:
    """If both secrets are refused, each is tried once, and the document is read once more."""
    world.put(make_credential(secrets=("first", "second")))
    for secret in ("first", "second"):
        world.exchanger.refused_secrets[secret] = SECRET_REFUSED
    with pytest.raises(CredentialRejectedError):
        await replica.minter.mint(KEY, 0)
    assert secrets_sent(world) == ["first", "second"]
    assert world.store.fetches == [REF, REF]


async def test_a_document_rotated_between_reading_and_presenting_is_read_once_more(
    world: World, replica: ReplicaInMemory
) -> None:
    """The old secret is refused, one re-read finds the new one, and no request fails."""
    world.put(make_credential(secrets=("old",)))
    world.exchanger.refused_secrets["old"] = SECRET_REFUSED

    async def rotate(_grant: Grant) -> None:
        world.put(make_credential(generation="2", secrets=("new",)))

    world.exchanger.before = rotate
    token = await replica.minter.mint(KEY, 5)
    assert (token.generation, token.epoch) == ("2", 5)
    assert secrets_sent(world) == ["old", "new"]
    assert world.store.fetches == [REF, REF]


async def test_only_a_first_attempt_without_a_purge_takes_a_recent_app(world: World, replica: ReplicaInMemory) -> None:
    """After a refusal or a purge, no document of an app that was read before is used."""
    world.put(make_credential(secrets=("refused",)))
    world.exchanger.refused_secrets["refused"] = SECRET_REFUSED
    for epoch in (0, 1):
        with pytest.raises(CredentialRejectedError):
            await replica.minter.mint(KEY, epoch)
    assert world.store.recent_app == [True, False, False, False]


async def test_a_secret_of_an_app_is_refused_once_for_all_its_orgs(world: World, replica: ReplicaInMemory) -> None:
    """That the second secret of an app was accepted for one org is known for the next org."""
    for ref in (REF, OTHER_REF):
        world.put(replace(make_credential(ref, secrets=("refused", "accepted")), app=("shared", "1")))
    world.exchanger.refused_secrets["refused"] = SECRET_REFUSED
    for key in (KEY, OTHER_KEY):
        await replica.minter.mint(key, 0)
    assert secrets_sent(world) == ["refused", "accepted", "accepted"]


async def test_a_document_that_is_rotated_again_and_again_is_retried_once(
    world: World, replica: ReplicaInMemory
) -> None:
    """There is one re-read and one retry, not a loop."""
    world.exchanger.failures[REF.org] = REJECTED
    generations = iter(range(2, 100))

    async def rotate(_grant: Grant) -> None:
        world.put(make_credential(generation=str(next(generations))))

    world.exchanger.before = rotate
    with pytest.raises(CredentialRejectedError):
        await replica.minter.mint(KEY, 0)
    assert world.exchanges == 2
    assert len(world.store.fetches) == 2


async def test_a_kind_converted_in_place_is_used_at_the_next_minting(world: World, replica: ReplicaInMemory) -> None:
    """If Adobe converted the credential, the next minting uses client credentials, without a restart."""
    world.put(make_credential(kind=CredentialKind.JWT))
    await replica.minter.mint(KEY, 0)
    world.put(make_credential(generation="2"))
    token = await replica.minter.mint(KEY, 0)
    assert token.kind == CredentialKind.OAUTH_SERVER_TO_SERVER
    assert [grant.url.rpartition("/ims/")[2] for grant in world.exchanger.grants] == ["exchange/jwt", "token/v3"]


async def test_a_kind_converted_during_an_exchange_fails_no_request(world: World, replica: ReplicaInMemory) -> None:
    """The refused assertion causes a re-read, and the new kind is used for the same request."""
    world.put(make_credential(kind=CredentialKind.JWT, secrets=("same",)))

    async def convert(grant: Grant) -> None:
        world.put(make_credential(generation="2", secrets=("same",)))
        if "jwt_token" in grant.form:
            raise REJECTED

    world.exchanger.before = convert
    token = await replica.minter.mint(KEY, 0)
    assert (token.kind, token.generation) == (CredentialKind.OAUTH_SERVER_TO_SERVER, "2")


async def test_a_scope_that_the_credential_lacks_never_reaches_ims(world: World, replica: ReplicaInMemory) -> None:
    """A caller's mistake costs no exchange."""
    with pytest.raises(InvalidScopeError):
        await replica.minter.mint(make_key(scopes="openid admin"), 0)
    assert world.exchanges == 0


async def rejected_times(replica: ReplicaInMemory, times: int) -> None:
    """Mint this number of times, and be refused each time."""
    for _ in range(times):
        with pytest.raises(CredentialRejectedError):
            await replica.minter.mint(KEY, 0)


async def test_a_dead_credential_costs_ims_two_calls_a_minute(world: World, replica: ReplicaInMemory) -> None:
    """A document that was rejected twice is not presented again for 60 s, whatever the number of requests."""
    world.exchanger.failures[REF.org] = REJECTED
    await rejected_times(replica, 50)
    assert world.exchanges == 2
    world.clock.advance(60.0)
    await rejected_times(replica, 50)
    assert world.exchanges == 3


async def test_a_rejection_before_a_success_does_not_count(world: World, replica: ReplicaInMemory) -> None:
    """Only two rejections in a row keep a document from being sent again."""
    for _ in range(2):
        world.exchanger.failures[REF.org] = REJECTED
        await rejected_times(replica, 1)
        world.exchanger.failures.clear()
        await replica.minter.mint(KEY, 0)
    assert world.exchanges == 4


async def test_a_dead_credential_costs_vault_one_look_a_second(world: World, replica: ReplicaInMemory) -> None:
    """A thousand requests read a rejected document ten times more; a repaired one is then used within a second."""
    world.exchanger.failures[REF.org] = REJECTED
    await rejected_times(replica, 1000)
    assert (world.exchanges, len(world.store.fetches)) == (2, 14)
    world.exchanger.failures.clear()
    world.put(make_credential(generation="2"))
    world.clock.advance(1.0)
    assert (await replica.minter.mint(KEY, 0)).generation == "2"


@pytest.mark.parametrize("change", [make_credential(generation="2"), None])
async def test_a_changed_document_or_a_purge_ends_the_wait_at_once(
    world: World, replica: ReplicaInMemory, change: Credential | None
) -> None:
    """After the credential was repaired or purged, it is used without waiting for the rest of the minute."""
    world.exchanger.failures[REF.org] = REJECTED
    await rejected_times(replica, 3)
    world.exchanger.failures.clear()
    if change is not None:
        world.put(change)
    token = await replica.minter.mint(KEY, 0 if change else 1)
    assert token.generation == ("2" if change else "1")


async def test_a_rejected_scope_does_not_block_the_others(world: World, replica: ReplicaInMemory) -> None:
    """One caller's unusable scope does not affect other callers of the same credential."""

    async def refuse_session(grant: Grant) -> None:
        if grant.scopes == ("session",):
            raise REJECTED

    world.exchanger.before = refuse_session
    for _ in range(3):
        with pytest.raises(CredentialRejectedError):
            await replica.minter.mint(make_key(scopes="session"), 0)
    assert (await replica.minter.mint(KEY, 0)).key == KEY


async def test_the_expiry_of_a_certificate_is_an_event(world: World, replica: ReplicaInMemory) -> None:
    """The expiry is emitted when the certificate is read, so that it can be monitored."""
    pem = "-----BEGIN CERTIFICATE-----"
    world.put(make_credential(kind=CredentialKind.JWT, certificate=pem))
    await replica.minter.mint(KEY, 0)
    assert replica.sink.of(CertificateSeen) == [CertificateSeen(REF, world.clock() + len(pem))]


async def test_an_invalid_document_is_reported_by_its_field(world: World, replica: ReplicaInMemory) -> None:
    """The store's error reaches the caller unchanged, and IMS is not called."""
    world.store.failure = CredentialMisconfiguredError("client_id", "must be text")
    with pytest.raises(CredentialMisconfiguredError):
        await replica.minter.mint(KEY, 0)
    assert world.exchanges == 0
