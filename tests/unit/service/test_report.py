"""Reporting a token that Adobe refused: replaced once, however many callers report it."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest

from app.domain.dependency_errors import CacheUnavailableError, ImsUnavailableError
from app.domain.grant import Grant
from app.domain.tenant_errors import CredentialRejectedError
from app.service.backoff import LONGEST_REFUSAL_SECONDS
from tests.factories import KEY, ORG, make_key
from tests.support.replica_in_memory import ReplicaInMemory, World

STALE = "0" * 64


async def test_three_hundred_reports_at_once_cost_one_replacement(world: World, replica: ReplicaInMemory) -> None:
    """A storm of 401s costs one exchange, and every reporter gets the new token."""
    refused = (await replica.vend()).token
    answers = await asyncio.gather(*(replica.vendor.report(KEY, refused.sha256) for _ in range(300)))
    assert world.exchanges == 2
    [value] = {answer.token.value for answer in answers}
    assert value != refused.value
    assert (await replica.vend()).token.value == value


async def test_a_storm_over_three_replicas_costs_one_replacement(world: World) -> None:
    """Reports that reach different replicas replace the token once."""
    replicas = [ReplicaInMemory(world) for _ in range(3)]
    refused, *_ = [(await replica.vend()).token for replica in replicas]
    answers = await asyncio.gather(
        *(replica.vendor.report(KEY, refused.sha256) for replica in replicas for _ in range(100))
    )
    assert world.exchanges == 2
    assert {answer.token.value for answer in answers} == {(await replicas[0].vend()).token.value}


async def test_a_stale_report_gets_the_current_token_without_an_exchange(
    world: World, replica: ReplicaInMemory
) -> None:
    """A report with the hash of another token replaces nothing."""
    current = (await replica.vend()).token
    assert (await replica.vendor.report(KEY, STALE)).token is current
    assert world.exchanges == 1


async def test_a_token_is_replaced_once_a_minute_per_credential(world: World, replica: ReplicaInMemory) -> None:
    """A second report within the minute, about the new token or another scope's, changes nothing."""
    scoped = make_key(scopes="openid")
    first, other = (await replica.vend()).token, (await replica.vend(scoped)).token
    second = (await replica.vendor.report(KEY, first.sha256)).token
    assert second is not first
    assert (await replica.vendor.report(KEY, second.sha256)).token is second
    assert (await replica.vendor.report(scoped, other.sha256)).token is other
    assert world.exchanges == 3
    world.clock.advance(60.0)
    assert (await replica.vendor.report(KEY, second.sha256)).token is not second
    assert world.exchanges == 4


async def test_the_minute_applies_to_all_replicas(world: World, replica: ReplicaInMemory) -> None:
    """If one replica replaced the token, another does not replace it again within the minute."""
    other = ReplicaInMemory(world)
    first = (await replica.vend()).token
    second = (await replica.vendor.report(KEY, first.sha256)).token
    await other.vend()
    assert (await other.vendor.report(KEY, second.sha256)).token.value == second.value
    assert world.exchanges == 2


async def test_without_redis_the_minute_applies_to_each_replica(world: World, replica: ReplicaInMemory) -> None:
    """An outage of the shared cache does not lead to one minting per report."""
    world.redis_down()
    sha256 = (await replica.vend()).token.sha256
    for _ in range(20):
        sha256 = (await replica.vendor.report(KEY, sha256)).token.sha256
    assert world.exchanges == 2


async def test_another_replicas_replacement_is_adopted(world: World, replica: ReplicaInMemory) -> None:
    """A replica that still has the refused token takes the new one from the shared cache."""
    other = ReplicaInMemory(world)
    refused = (await replica.vend()).token
    await other.vend()
    replaced = (await replica.vendor.report(KEY, refused.sha256)).token
    adopted = await other.vendor.report(KEY, refused.sha256)
    assert (adopted.token.value, adopted.tier) == (replaced.value, "shared")
    assert (await other.vend()).token.value == replaced.value
    assert world.exchanges == 2


async def test_a_replacement_with_a_shorter_lifetime_is_kept(world: World, replica: ReplicaInMemory) -> None:
    """The new token replaces the refused one although it expires earlier, in memory and in the shared cache."""
    refused = (await replica.vend()).token
    world.exchanger.lifetime = 3600.0
    replaced = (await replica.vendor.report(KEY, refused.sha256)).token
    assert (await replica.vend()).token is replaced
    assert (await world.cache.read(KEY)).token is replaced


async def test_callers_with_the_old_token_do_not_wait_for_its_replacement(
    world: World, replica: ReplicaInMemory
) -> None:
    """While the replacement hangs, GET answers with the current token."""
    refused = (await replica.vend()).token
    world.exchanger.calls(ORG).pause()
    reporting = asyncio.create_task(replica.vendor.report(KEY, refused.sha256))
    await world.exchanger.calls(ORG).one_waits()
    assert (await replica.vend()).token is refused
    world.exchanger.calls(ORG).resume()
    assert (await reporting).token is not refused


async def test_a_replacement_that_fails_is_answered_and_not_repeated_per_report(
    world: World, replica: ReplicaInMemory
) -> None:
    """Two exchanges are made at once, the reporters get the error, and a later report tries again."""
    refused = (await replica.vend()).token
    world.exchanger.failures[ORG] = ImsUnavailableError("down")
    for _ in range(10):
        with pytest.raises(ImsUnavailableError):
            await replica.vendor.report(KEY, refused.sha256)
    assert world.exchanges == 3
    del world.exchanger.failures[ORG]
    world.clock.advance(LONGEST_REFUSAL_SECONDS)
    assert (await replica.vendor.report(KEY, refused.sha256)).token is not refused
    assert world.exchanges == 4


async def test_a_replacement_that_failed_is_made_by_any_replica(world: World, replica: ReplicaInMemory) -> None:
    """A failure does not use up the minute, and no reporter gets the refused token back."""
    refused = (await replica.vend()).token
    world.exchanger.failures[ORG] = ImsUnavailableError("down")
    with pytest.raises(ImsUnavailableError):
        await replica.vendor.report(KEY, refused.sha256)
    del world.exchanger.failures[ORG]
    other = ReplicaInMemory(world)
    assert (await other.vendor.report(KEY, refused.sha256)).token is not refused


async def test_a_report_to_a_replica_with_an_empty_memory_replaces_the_shared_token(
    world: World, replica: ReplicaInMemory
) -> None:
    """A replica that has just started finds the refused token in the shared cache and replaces it."""
    refused = (await replica.vend()).token
    answer = await ReplicaInMemory(world).vendor.report(KEY, refused.sha256)
    assert answer.token.value != refused.value
    assert world.exchanges == 2


async def test_a_purge_during_a_replacement_gets_the_reporter_a_token_of_the_new_epoch(
    world: World, replica: ReplicaInMemory
) -> None:
    """A report during a purge is not answered with a token from before the purge."""
    refused = (await replica.vend()).token
    world.exchanger.calls(ORG).pause()
    reporting = asyncio.create_task(replica.vendor.report(KEY, refused.sha256))
    await world.exchanger.calls(ORG).one_waits()
    await replica.purges.purge(KEY.ref)
    world.exchanger.calls(ORG).resume()
    assert (await reporting).token.epoch > refused.epoch


async def test_a_failed_replacement_returns_only_its_own_claim(
    world: World, replica: ReplicaInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that could not request the claim, and then fails, does not return another replica's claim."""
    other, third = ReplicaInMemory(world), ReplicaInMemory(world)
    refused = (await replica.vend()).token
    await other.vend()
    new = (await other.vendor.report(KEY, refused.sha256)).token

    async def away(*_arguments: object) -> NoReturn:
        raise CacheUnavailableError("away")

    with monkeypatch.context() as broken:
        for operation in ("claim_replacement", "read"):
            broken.setattr(world.cache, operation, away)
        world.exchanger.failures[ORG] = ImsUnavailableError("down")
        with pytest.raises(ImsUnavailableError):
            await replica.vendor.report(KEY, refused.sha256)
    del world.exchanger.failures[ORG]
    assert (await third.vendor.report(KEY, new.sha256)).token.value == new.value


async def test_a_failed_replacement_is_answered_although_its_claim_cannot_be_returned(
    world: World, replica: ReplicaInMemory
) -> None:
    """If Redis goes away during the exchange, the reporter still learns what IMS answered."""
    refused = (await replica.vend()).token

    async def redis_goes_away(_grant: Grant) -> None:
        world.redis_down()

    world.exchanger.before = redis_goes_away
    world.exchanger.failures[ORG] = CredentialRejectedError("invalid_client", None, secret_refused=False)
    with pytest.raises(CredentialRejectedError):
        await replica.vendor.report(KEY, refused.sha256)
    assert world.connection.calls[-1] == "return_replacement"
