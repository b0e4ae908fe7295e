"""The life of the key ring: a key is added, seals, and is retired, under brokers that vend all the time."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.fleet import Fleet
from tests.support.processes import Finished, run_cli
from tests.support.replica import BrokerProcess
from tests.support.tenants import Tenant


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


def mode_of(path: str) -> int:
    """The permission bits of a file."""
    return Path(path).stat().st_mode & 0o777


async def _vended_alike(fleet: Fleet, replicas: list[BrokerProcess], tenants: list[Tenant]) -> None:
    """The replicas hand out the tokens that are in Redis, and nothing is exchanged twice."""
    for tenant in tenants:
        tokens = {(await replica.token(tenant.org)).json["access_token"] for replica in replicas}
        assert len(tokens) == 1
        assert len(fleet.exchanges(tenant)) == 1


async def test_a_key_is_replaced_without_an_exchange(own_fleet: Fleet) -> None:
    """After each step one replica restarts with the new file while the other has the old one; no token is lost."""
    tenants = [own_fleet.tenant() for _ in range(3)]
    [old] = own_fleet.start(1)
    await _vended_alike(own_fleet, [old], tenants[:1])
    [first] = ids_of(own_fleet)

    added = await keys(own_fleet, "rotate", ring_of(own_fleet), "--json")
    [_, second] = ids_of(own_fleet)
    assert json.loads(added.stdout) == {"file": ring_of(own_fleet), "keys": [first, second], "sealing": first}
    [between] = own_fleet.start(1)
    await _vended_alike(own_fleet, [old, between], tenants[:2])

    activated = await keys(own_fleet, "rotate", ring_of(own_fleet), "--activate")
    assert (activated.code, ids_of(own_fleet)) == (0, [second, first]), activated
    old.process.kill()  # the only replica that does not have the second key
    [new] = own_fleet.start(1)
    await _vended_alike(own_fleet, [new, between], tenants)

    refused = await keys(own_fleet, "retire", ring_of(own_fleet), first)
    assert refused.code == 1
    assert f"tokens in Redis are sealed with {first}" in refused.stderr
    for tenant in tenants:
        await new.purge(tenant.org)
        await new.token(tenant.org)
    retired = await keys(own_fleet, "retire", ring_of(own_fleet), first)
    assert (retired.code, ids_of(own_fleet)) == (0, [second]), retired
    assert mode_of(ring_of(own_fleet)) == 0o600
    material = [key["key"] for key in json.loads(content_of(ring_of(own_fleet)))["keys"]]
    assert not any(secret in added.stdout + activated.stdout + retired.stdout for secret in material)


async def test_mistakes_change_nothing(own_fleet: Fleet, tmp_path: Path) -> None:
    """A key that seals, one that is not there, a single key and a broken file are refused, and the file stays."""
    before = content_of(ring_of(own_fleet))
    [only] = ids_of(own_fleet)
    for words, sentence in (
        (("retire", ring_of(own_fleet), only), "seals, so it cannot be retired"),
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
