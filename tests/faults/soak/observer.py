"""Looks at the parts of a rig from outside: what they use, and whether a secret is where it does not belong."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from redis.exceptions import RedisError

from tests.faults.soak.records import Disturbed, Measured, RecordedHistory, SecretFound
from tests.faults.soak.rig import Rig
from tests.support.wire import exchange, request_bytes

EVERY_SECONDS = 5.0
STARVED_SECONDS = 0.1
"""A call to Redis has 0.25 s, for which two processes must run."""

_LOOK_SECONDS = 0.02
_PAGE = 4096
_TOKEN = re.compile(rb"eyJ[\w-]{20,}\.[\w-]{20,}\.[\w-]{20,}")
_TASKS = re.compile(rb"^ims_token_broker_event_loop_tasks (\S+)$", re.MULTILINE)


async def measure_always(rig: Rig, history: RecordedHistory) -> None:
    """Measure every few seconds, until cancelled."""
    while True:
        redis = await asyncio.to_thread(_of_redis, rig)
        for number, replica in enumerate(rig.replicas):
            if replica.process.alive:
                start = rig.starts[number]
                values = {**_of_process(replica.process.pid), **redis, **await _of_loop(replica.port)}
                history.add(Measured(rig.now(), number, start, values))
        await asyncio.sleep(EVERY_SECONDS)


async def watch_machine(rig: Rig, history: RecordedHistory) -> None:
    """Record when this process did not run although it was due: then the machine was short of CPU, until cancelled."""
    while True:
        due = rig.now() + _LOOK_SECONDS
        await asyncio.sleep(_LOOK_SECONDS)
        if rig.now() - due > STARVED_SECONDS:
            history.add(Disturbed("starve", "machine", due, rig.now()))


async def find_secrets(rig: Rig, history: RecordedHistory, errors: bytes) -> int:
    """Look for all secrets, and for any token, in all that was written and answered; the bytes that were read."""
    places: dict[str, bytes] = {"answers": errors, "Redis": await asyncio.to_thread(rig.fleet.redis.contents)}
    for replica in rig.replicas:
        name = replica.process.name
        places |= {f"{path.name}": path.read_bytes() for path in (replica.process.stdout, replica.process.stderr)}
        places[replica.audit.name] = replica.audit.read_bytes()
        places[f"metrics of {name}"] = (await replica.get("/metrics")).body
    secrets = {**rig.secrets, **_secrets_of_settings(rig)}
    for place, secret in await asyncio.to_thread(lambda: list(secrets_in(places, secrets))):
        history.add(SecretFound(place, secret))
    return sum(map(len, places.values()))


def secrets_in(places: Mapping[str, bytes], secrets: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Where a secret, or any access token, is found, and which."""
    for place, text in places.items():
        yield from ((place, name) for name, secret in secrets.items() if secret.encode() in text)
        if _TOKEN.search(text):
            yield place, "a token"


def _secrets_of_settings(rig: Rig) -> dict[str, str]:
    ring = json.loads(Path(rig.fleet.settings["CACHE_KEYS_FILE"]).read_text())
    keys = {f"API key of {name}": key for name, key in rig.keys.items()}
    private = next(iter(rig.tenants.values())).key.pkcs8.splitlines()[1]
    return {
        **keys,
        **{f"cache key {key['id']}": key["key"] for key in ring["keys"]},
        "Redis password": rig.fleet.redis.password,
        "Vault token": rig.fleet.vault_token,
        "private key": private,
    }


def _of_process(pid: int) -> dict[str, float]:
    """What the kernel says of a process; nothing if it has just ended."""
    folder = Path("/proc") / str(pid)
    try:
        status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
        pages = int((folder / "statm").read_text().split()[1])
        descriptors = len(list((folder / "fd").iterdir()))
    except OSError:
        return {}
    return {"rss": float(pages * _PAGE), "descriptors": float(descriptors), "threads": float(status["Threads"])}


async def _of_loop(port: int) -> dict[str, float]:
    """What a replica says of its event loop; nothing if it does not answer."""
    try:
        reply = await exchange(port, request_bytes("GET", "/metrics"), within=2.0)
    except (OSError, TimeoutError):
        return {}
    found = _TASKS.search(reply.body)
    return {} if found is None else {"tasks": float(found[1])}


def _of_redis(rig: Rig) -> dict[str, float]:
    """What Redis says of itself; nothing if it does not answer."""
    try:
        keys, memory = rig.fleet.redis.server.run("DBSIZE"), rig.fleet.redis.server.run("INFO", "memory")
    except (RedisError, OSError):
        return {}
    return {"redis_keys": float(keys), "redis_memory": float(memory["used_memory"])}
