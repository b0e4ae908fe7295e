"""What an operator may know about a tenant."""

from __future__ import annotations

import pytest

from app.domain.credential import CredentialKind
from app.domain.dependency_errors import CredentialStoreError, ImsUnavailableError
from app.domain.names import OrgId
from app.domain.policy import Action
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.service.status import CONCURRENT_READS, CredentialStatus, StatusReader
from tests.factories import (
    ALL_ACTIONS,
    KEY,
    ORG,
    OTHER_ORG,
    OTHER_REF,
    REF,
    UNKNOWN_ORG,
    make_caller,
    make_credential,
    make_key,
    make_rule,
)
from tests.fakes import DAY
from tests.support.replica_in_memory import ReplicaInMemory, World

EVERYWHERE = make_caller("operator", make_rule(actions=[Action.STATUS]))


class StatusHarness:
    """A status reader on a replica."""

    def __init__(self) -> None:
        self.world = World()
        self.replica = ReplicaInMemory(self.world)
        self.reader = StatusReader(
            self.world.store, self.world.cache, self.replica.vendor, lambda _pem: 12.0, self.world.clock
        )

    async def one(self) -> CredentialStatus:
        """The status of the first credential."""
        page, _ = await self.reader.page(make_caller("one", make_rule(ORG, actions=[Action.STATUS])), None, 10)
        [status] = page
        return status


@pytest.fixture
def harness() -> StatusHarness:
    """A status reader of a new replica."""
    return StatusHarness()


async def test_the_state_of_a_token_is_reported(harness: StatusHarness) -> None:
    """A token is absent, fresh, aging and expired in the course of its lifetime."""
    harness.world.store.put(make_credential(kind=CredentialKind.JWT, certificate="-----BEGIN CERTIFICATE-----"))
    states = [(await harness.one()).token_state]
    await harness.replica.vend()
    for share in (0.0, 0.6, 0.4):
        harness.world.clock.advance(DAY * share)
        states.append((await harness.one()).token_state)
    assert states == ["absent", "fresh", "aging", "expired"]
    status = await harness.one()
    assert (status.kind, status.generation, status.certificate_expires_at) == ("jwt", "1", 12.0)


async def test_the_last_error_is_reported(harness: StatusHarness) -> None:
    """The code of a failed exchange is reported until one succeeds."""
    harness.world.exchanger.failures[ORG] = ImsUnavailableError("down")
    with pytest.raises(ImsUnavailableError):
        await harness.replica.vend()
    assert (await harness.one()).last_error == "ims_unavailable"
    harness.world.exchanger.failures.clear()
    await harness.replica.vend()
    assert (await harness.one()).last_error is None


async def test_a_broken_document_hides_neither_the_token_nor_the_other_tenants(harness: StatusHarness) -> None:
    """A document that cannot be read is reported with its error's code, next to the token that is still in use."""
    await harness.replica.vend()
    harness.world.store.failure = CredentialMisconfiguredError("client_id", "must be text")
    status = await harness.one()
    assert (status.kind, status.token_state, status.last_error) == (
        "oauth_server_to_server",
        "fresh",
        "credential_misconfigured",
    )


async def test_a_token_of_another_replica_is_reported(harness: StatusHarness) -> None:
    """A token that is only in the shared cache is reported; if the cache is unavailable, it is absent."""
    await ReplicaInMemory(harness.world).vend(KEY)
    assert (await harness.one()).token_state == "fresh"
    harness.world.redis_down()
    assert (await harness.one()).token_state == "absent"


async def test_a_caller_sees_only_what_its_rules_name(harness: StatusHarness) -> None:
    """Named orgs are listed even if nothing is stored for them; orgs of rules for other actions are not."""
    caller = make_caller(
        "some", make_rule(ORG, UNKNOWN_ORG, actions=[Action.STATUS]), make_rule(OTHER_ORG, actions=[Action.VEND])
    )
    page, following = await harness.reader.page(caller, None, 10)
    assert [(status.ref.org, status.last_error) for status in page] == [
        (UNKNOWN_ORG, "credential_not_found"),
        (ORG, None),
    ]
    assert following is None


async def test_a_rule_for_every_org_lists_stored_credentials_with_its_names(harness: StatusHarness) -> None:
    """Credentials with other names are not listed."""
    harness.world.store.put(make_credential(make_key(credential="hidden").ref))
    page, _ = await harness.reader.page(EVERYWHERE, None, 10)
    assert [status.ref for status in page] == [REF, OTHER_REF]


async def test_pages_follow_each_other_without_gap_or_repetition(harness: StatusHarness) -> None:
    """Each page begins after the end of the previous one; the last page has no next one."""
    first, following = await harness.reader.page(EVERYWHERE, None, 1)
    second, end = await harness.reader.page(EVERYWHERE, following, 1)
    assert [status.ref for status in (*first, *second)] == [REF, OTHER_REF]
    assert (following, end) == (REF, None)


async def test_a_store_that_cannot_list_is_an_error_not_an_empty_list(harness: StatusHarness) -> None:
    """A caller that may see every org gets an error; one whose rules name orgs gets their state."""
    harness.world.store.failure = CredentialStoreError("sealed")
    with pytest.raises(CredentialStoreError):
        await harness.reader.page(EVERYWHERE, None, 10)
    assert (await harness.one()).last_error == "vault_unavailable"


async def test_an_outage_of_the_store_is_waited_for_once_per_page(harness: StatusHarness) -> None:
    """Of a hundred credentials only those read concurrently wait for the store; the others get the same error."""
    orgs = [OrgId(f"{number:024d}@AdobeOrg") for number in range(100)]
    harness.world.store.failure = CredentialStoreError("slow")
    page, _ = await harness.reader.page(make_caller("all", make_rule(*orgs, actions=[Action.STATUS])), None, 100)
    assert {status.last_error for status in page} == {"vault_unavailable"}
    assert len(harness.world.store.fetches) <= CONCURRENT_READS


async def test_no_secret_is_in_a_status(harness: StatusHarness) -> None:
    """The text form of a status contains neither the token nor a client secret."""
    token = (await harness.replica.vend()).token
    page, _ = await harness.reader.page(make_caller("all", make_rule(actions=ALL_ACTIONS)), None, 10)
    assert token.value not in repr(page)
    assert "canary" not in repr(page)
