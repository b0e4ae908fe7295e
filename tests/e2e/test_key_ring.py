"""The life of the key ring: a key is added, seals, and is retired, under brokers that vend all the time."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from pathlib import Path

from tests.support.fleet import Fleet
from tests.support.processes import Finished, run_cli
from tests.support.redis_intruder import RedisIntruder
from tests.support.replica import BrokerProcess
from tests.support.tenants import Tenant
from tests.support.traffic import traffic
from tests.support.waiting import until, until_answered
from tests.support.wire import Reply


async def keys(fleet: Fleet, *words: str) -> Finished:
    """Run a `keys` command on the fleet's key ring, as Redis' administrator."""
    return await run_cli(
        "keys",
        *words,
        env={
            "BROKER_REDIS_URL": fleet.redis.server.url,
            "BROKER_CACHE_KEYS_FILE": ring_of(fleet),
            "BROKER_REDIS_PREFIX": fleet.settings["REDIS_PREFIX"],
        },
    )


def ring_of(fleet: Fleet) -> str:
    """The path of the fleet's key ring."""
    return fleet.settings["CACHE_KEYS_FILE"]


def ids_of(fleet: Fleet) -> list[str]:
    """The ids of the ring's keys; the first one seals."""
    return [key["id"] for key in json.loads(content_of(ring_of(fleet)))["keys"]]


def content_of(path: str) -> str:
    """The text of a file."""
    return Path(path).read_text()


def replace_content(path: str, text: str) -> None:
    """Write a file."""
    Path(path).write_text(text)


def set_mode(path: str, mode: int) -> None:
    """Set the permission bits of a file."""
    Path(path).chmod(mode)


def mode_of(path: str) -> int:
    """The permission bits of a file."""
    return Path(path).stat().st_mode & 0o777


async def _vended_alike(fleet: Fleet, replicas: list[BrokerProcess], tenants: list[Tenant]) -> None:
    """The replicas hand out the tokens that are in Redis, and nothing is exchanged twice."""
    for tenant in tenants:
        tokens = {(await replica.token(tenant.org)).json["access_token"] for replica in replicas}
        assert len(tokens) == 1
        assert len(fleet.exchanges(tenant)) == 1


async def _in_force(replicas: list[BrokerProcess], ids: list[str]) -> None:
    """Wait until each replica has logged that the ring with these keys is in force."""

    def is_logged(replica: BrokerProcess) -> bool:
        lines = replica.process.stderr.read_text().splitlines()
        loaded = [json.loads(line)["event"]["keys"] for line in lines if '"key ring in force"' in line]
        return bool(loaded) and loaded[-1] == ids

    await until(lambda: all(map(is_logged, replicas)), 20)


async def test_a_key_is_replaced_under_load(own_fleet: Fleet) -> None:
    """Two replicas under load take up each step without a restart, a failure or an exchange; then the old key goes."""
    tenants = [own_fleet.tenant() for _ in range(5)]
    replicas = own_fleet.start(2)
    await _vended_alike(own_fleet, replicas, tenants)
    [first] = ids_of(own_fleet)
    set_mode(ring_of(own_fleet), 0o640)

    def ask(number: int) -> Awaitable[Reply]:
        return replicas[number % 2].token(tenants[number % len(tenants)].org)

    async with traffic(ask, 50) as seen:
        added = await keys(own_fleet, "rotate", ring_of(own_fleet), "--json")
        [_, second] = ids_of(own_fleet)
        expected = {"file": ring_of(own_fleet), "mode": "0640", "keys": [first, second], "sealing": first}
        assert json.loads(added.stdout) == expected
        await _in_force(replicas, [first, second])
        refused = await keys(own_fleet, "retire", ring_of(own_fleet), first)
        assert refused.code == 1
        assert f"5 tokens in Redis are encrypted with {first}" in refused.stderr
        activated = await keys(own_fleet, "rotate", ring_of(own_fleet), "--activate")
        assert (activated.code, ids_of(own_fleet)) == (0, [second, first]), activated
        await _in_force(replicas, [second, first])

        async def is_retired() -> bool:
            return (await keys(own_fleet, "retire", ring_of(own_fleet), first)).code == 0

        await until_answered(is_retired, 30)
        await _in_force(replicas, [second])
        [late] = own_fleet.start(1)
        await _vended_alike(own_fleet, [*replicas, late], tenants)
    assert len(seen.replies) > 50
    assert seen.failures() == []
    assert mode_of(ring_of(own_fleet)) == 0o640
    material = [key["key"] for key in json.loads(content_of(ring_of(own_fleet)))["keys"]]
    logs = "".join(replica.process.stderr.read_text() for replica in own_fleet.replicas)
    assert not any(secret in added.stdout + activated.stdout + logs for secret in material)


async def test_a_replica_that_lacks_the_key_costs_one_exchange(own_fleet: Fleet) -> None:
    """In the wrong order, a replica without the new key exchanges for itself once, and neither undoes the other."""
    tenant, lagging_ring = own_fleet.tenant(), own_fleet.folder / "lagging.json"
    lagging_ring.write_text(content_of(ring_of(own_fleet)))
    await keys(own_fleet, "rotate", ring_of(own_fleet))
    await keys(own_fleet, "rotate", ring_of(own_fleet), "--activate")
    [ahead] = own_fleet.start(1)
    [lagging] = own_fleet.start(1, CACHE_KEYS_FILE=str(lagging_ring))
    for _ in range(3):
        for replica in (ahead, lagging):
            assert (await replica.token(tenant.org)).status == 200
    assert len(own_fleet.exchanges(tenant)) == 2
    [again] = own_fleet.start(1)
    assert (await again.token(tenant.org)).status == 200
    lagging_ring.write_text(content_of(ring_of(own_fleet)))
    await _in_force([lagging], ids_of(own_fleet))
    assert (await lagging.token(tenant.org)).status == 200
    assert len(own_fleet.exchanges(tenant)) == 2


async def test_a_replayed_token_of_a_retired_key_is_not_opened(own_fleet: Fleet) -> None:
    """If an intruder in Redis puts a token of the retired key back, no replica takes it, and it is replaced."""
    tenant, [first] = own_fleet.tenant(), ids_of(own_fleet)
    [warm] = own_fleet.start(1)
    old = (await warm.token(tenant.org)).json["access_token"]
    intruder = RedisIntruder(own_fleet, tenant)
    await keys(own_fleet, "rotate", ring_of(own_fleet))
    await keys(own_fleet, "rotate", ring_of(own_fleet), "--activate")

    async def is_retired() -> bool:
        return (await keys(own_fleet, "retire", ring_of(own_fleet), first)).code == 0

    await until_answered(is_retired, 30)
    await _in_force([warm], ids_of(own_fleet))
    intruder.replay()
    [late] = own_fleet.start(1)
    new = (await late.token(tenant.org)).json["access_token"]
    assert new != old
    assert (await warm.token(tenant.org)).json["access_token"] == old  # from its memory: it is still valid
    [latest] = own_fleet.start(1)
    assert (await latest.token(tenant.org)).json["access_token"] == new
    assert len(own_fleet.exchanges(tenant)) == 2


async def test_a_bad_ring_changes_nothing(own_fleet: Fleet) -> None:
    """A bad ring is logged and counted once; the replica goes on, and takes the next good one."""
    tenant, good = own_fleet.tenant(), content_of(ring_of(own_fleet))
    [replica] = own_fleet.start(1)
    replace_content(ring_of(own_fleet), "{}")

    async def is_refused() -> bool:
        return b"\nims_token_broker_key_ring_refusals_total 1.0\n" in (await replica.get("/metrics")).body

    await until_answered(is_refused, 20)
    assert (await replica.token(tenant.org)).status == 200
    assert replica.process.stderr.read_text().count("changed key ring refused") == 1
    replace_content(ring_of(own_fleet), good)
    await keys(own_fleet, "rotate", ring_of(own_fleet))
    await _in_force([replica], ids_of(own_fleet))


async def test_mistakes_change_nothing(own_fleet: Fleet, tmp_path: Path) -> None:
    """A key that seals, one that is not there, a single key and a broken file are refused, and the file stays."""
    before = content_of(ring_of(own_fleet))
    [only] = ids_of(own_fleet)
    for words, sentence in (
        (("retire", ring_of(own_fleet), only), "encrypts, so it cannot be retired"),
        (("retire", ring_of(own_fleet), "unknown"), "has no key of that id"),
        (("rotate", ring_of(own_fleet), "--activate"), "has one key only"),
    ):
        finished = await keys(own_fleet, *words)
        assert (finished.code, sentence in finished.stderr) == (1, True), finished
    assert content_of(ring_of(own_fleet)) == before
    (tmp_path / "broken").write_text("{}")
    broken = await keys(own_fleet, "rotate", str(tmp_path / "broken"))
    assert (broken.code, content_of(str(tmp_path / "broken"))) == (1, "{}")


async def test_without_a_look_into_redis_a_key_is_not_retired(own_fleet: Fleet) -> None:
    """Without an address of Redis the key is not retired, unless it is forced."""
    await keys(own_fleet, "rotate", ring_of(own_fleet))
    await keys(own_fleet, "rotate", ring_of(own_fleet), "--activate")
    [second, first] = ids_of(own_fleet)
    nowhere = await run_cli("keys", "retire", ring_of(own_fleet), first)
    assert (nowhere.code, "BROKER_REDIS_URL is not set" in nowhere.stderr) == (2, True)
    forced = await run_cli("keys", "retire", ring_of(own_fleet), first, "--force")
    assert (forced.code, ids_of(own_fleet)) == (0, [second])
