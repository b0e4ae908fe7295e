"""The simulated Redis does what the contract of the cache and that of the lease do not say of both together."""

from __future__ import annotations

import random

import pytest

from app.domain.names import TokenKey
from tests.factories import KEY, make_token
from tests.fakes import NOW
from tests.simulation.simulated_network import Process
from tests.simulation.simulated_redis import RedisConnection, SimulatedRedis, link_to_redis


@pytest.fixture
def server() -> SimulatedRedis:
    """An empty one, whose clock stands still."""
    return SimulatedRedis(lambda: NOW)


@pytest.fixture
def connection(server: SimulatedRedis) -> RedisConnection:
    """The one of the first replica."""
    return RedisConnection(server, link_to_redis(random.Random(1), delay=(0.0, 0.0)), Process("first"))


async def test_storing_a_token_gives_back_its_lease(server: SimulatedRedis, connection: RedisConnection) -> None:
    """As `RedisTokenCache.store` does; the release that follows sends nothing more."""
    holder = await connection.acquire(KEY)
    assert holder is not None
    assert KEY in server.state.leases
    await connection.store(make_token(KEY))
    assert KEY not in server.state.leases
    calls = server.token_calls
    await connection.release(KEY, holder)
    assert server.token_calls == calls


async def test_storing_a_token_leaves_the_lease_of_another(server: SimulatedRedis, connection: RedisConnection) -> None:
    """A replica whose lease has ended does not give back that of its successor."""
    assert await connection.acquire(KEY) is not None
    successor = ("second:1", NOW + 5.0)
    server.state.leases[KEY] = successor
    await connection.store(make_token(KEY))
    assert server.state.leases[KEY] == successor


async def test_a_mistake_of_the_simulation_does_not_look_like_a_server_that_hangs(
    connection: RedisConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the effect of a call is the error of that call."""

    def broken(_self: RedisConnection, _key: TokenKey) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(RedisConnection, "_read", broken)
    with pytest.raises(ZeroDivisionError):
        await connection.read(KEY)
