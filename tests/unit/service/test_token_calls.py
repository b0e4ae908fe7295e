"""Calls that obtain tokens: their limits, what they report, and how they are traced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from app.domain.dependency_errors import ImsUnavailableError, OverloadedError
from app.domain.events import CacheLookedUp, MintFailed
from app.domain.names import CredentialRef, TokenKey, parse_org
from app.domain.tenant_errors import CredentialNotFoundError
from app.ports import Result
from app.service import token_calls
from app.service.need import Obtained
from app.service.vend import TokenVendor
from tests.factories import KEY, ORG, REF, UNKNOWN_ORG, make_key
from tests.support.replica_in_memory import ReplicaInMemory, World

DOWN = ImsUnavailableError("IMS is down", retry_after=0.5)


async def _hang() -> Obtained:
    await asyncio.Event().wait()
    raise AssertionError


async def test_each_limit_has_its_own_text() -> None:
    """An org has 100 calls, a replica 2,000, and one token 2,000 requests that wait."""
    calls, refusals = token_calls._running_calls(), list[str]()

    def start(key: TokenKey) -> None:
        try:
            calls.start(key, _hang)
        except OverloadedError as error:
            refusals.append(error.detail)

    for scope in range(101):
        start(make_key(scopes=f"s{scope}"))
    for number in range(1_901):
        start(TokenKey(CredentialRef(parse_org(f"{number:024d}@AdobeOrg"))))
    assert len(calls) == 2_000
    waiting = [asyncio.ensure_future(calls.join(make_key(scopes="s0"), _hang)) for _ in range(2_001)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=10.0)
    for one in done:
        with pytest.raises(OverloadedError) as refused:
            await one
        refusals.append(refused.value.detail)
    assert refusals == [
        "Too many different tokens of this tenant are requested at once.",
        "Too many tenants wait for a new token at once.",
        "Too many requests wait for a token of this tenant.",
    ]
    await calls.aclose(0.0)
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_failure_is_reported_for_the_requests_that_wait_for_it(world: World, replica: ReplicaInMemory) -> None:
    """With credential, code and text. An org that is not there is no failure of its tenant, and is not reported."""
    world.exchanger.failures[ORG] = DOWN
    with pytest.raises(ImsUnavailableError):
        await replica.vend()
    with pytest.raises(CredentialNotFoundError):
        await replica.vend(TokenKey(CredentialRef(UNKNOWN_ORG)))
    assert replica.sink.of(MintFailed) == [MintFailed(REF, "ims_unavailable", "IMS is down")]


async def test_a_refresh_that_fails_is_not_reported_as_a_failed_request(world: World, replica: ReplicaInMemory) -> None:
    """No request waits for it."""
    token = (await replica.vend()).token
    world.exchanger.failures[ORG] = DOWN
    world.clock.advance(token.refresh_at - token.minted_at)
    await replica.vend()
    await replica.until_idle()
    assert world.exchanges == 2
    assert replica.sink.of(MintFailed) == []


async def test_each_look_into_memory_is_reported(world: World, replica: ReplicaInMemory) -> None:
    """A miss before the exchange, a hit after it, and the use of the token is noted."""
    await replica.vend()
    world.clock.advance(10.0)
    await replica.vend()
    looks = [event for event in replica.sink.of(CacheLookedUp) if event.tier != "shared"]
    assert looks == [CacheLookedUp("memory", "miss"), CacheLookedUp("memory", "hit")]
    held = replica.memory.held(KEY)
    assert held is not None
    assert held.used_at == world.clock()


class _RecordedTracer:
    """Keeps what is drawn."""

    def __init__(self) -> None:
        self.drawn: list[tuple[object, ...]] = []

    def vend(self, ref: CredentialRef) -> AbstractContextManager[None]:
        self.drawn.append(("vend", ref))
        return nullcontext()

    def call(
        self, key: TokenKey, start: Callable[[], Coroutine[Any, Any, Result]], *, in_background: bool
    ) -> Coroutine[Any, Any, Result]:
        self.drawn.append(("call", key, in_background))
        return start()

    def joins(self, key: TokenKey) -> None:
        self.drawn.append(("joins", key))


async def test_calls_are_traced_with_who_starts_and_who_waits(world: World, replica: ReplicaInMemory) -> None:
    """A request starts a call or joins one; a refresh belongs to no request, but one may wait for it."""
    tracer, steady = _RecordedTracer(), world.steady or world.clock
    vendor = TokenVendor(
        replica.memory, replica.fleet, replica.purges, replica.epochs, replica.sink, world.clock, steady,
        replica.backoff, tracer,
    )  # fmt: skip
    first, _ = await asyncio.gather(vendor.vend(KEY), vendor.vend(KEY))
    vend = ("vend", REF)
    assert tracer.drawn == [vend, vend, ("call", KEY, False), ("joins", KEY)] or tracer.drawn == [
        vend, ("call", KEY, False), vend, ("joins", KEY)
    ]  # fmt: skip
    tracer.drawn.clear()
    world.clock.advance(first.token.lifetime - 500.0)
    assert (await vendor.vend(KEY)).token is not first.token
    assert sorted(tracer.drawn, key=str) == sorted([vend, ("call", KEY, True), ("joins", KEY)], key=str)
