"""Checks of Redis: whether it answers and how fast, whether each command is allowed, and what kind of server it is."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from functools import partial
from statistics import median
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, NoScriptError

from app.adapters.redis.client import CALL_TIMEOUT, RedisClient
from app.diagnosis import Check, CheckFinding, failed, fine, warning
from app.domain.dependency_errors import CacheUnavailableError

_PINGS = 5
_SLOW_SECONDS = CALL_TIMEOUT / 5
_TRIAL_MILLISECONDS = 5000
_ACL_PAGE = "docs/least-privilege.md has the whole ACL line of the user."


class RedisDiagnosis:
    """The checks of one Redis.

    Args:
        client: Makes the calls; its own deadline should be longer than the broker's.
        prefix: Beginning of all key names.

    """

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def checks(self) -> list[Check]:
        """All of them."""
        return [
            Check("redis", self._reachable, remedy="Check BROKER_REDIS_URL, the way to it, its TLS and the login."),
            Check("redis server", self._server, "redis"),
            Check("redis commands", self._commands, "redis server"),
        ]

    async def _reachable(self) -> CheckFinding:
        now = asyncio.get_running_loop().time
        times = []
        for _ in range(_PINGS + 1):
            begun = now()
            await self._client.call("check", lambda redis: redis.mget([f"{self._prefix}:doctor"]))
            times.append(now() - begun)
        typical = median(times[1:])  # the first one connects
        detail = f"It answers in {typical * 1000:.1f} ms."
        if typical > _SLOW_SECONDS:
            return warning(
                f"{detail} The broker waits {CALL_TIMEOUT * 1000:.0f} ms at most.", "Put Redis closer to it."
            )
        return fine(detail)

    async def _server(self) -> CheckFinding:
        info = await self._client.call("check", _info)
        if info is None:
            return fine("The user may not run INFO, so role, eviction and persistence are unknown.")
        if info.get("cluster_enabled"):
            return failed("It runs in cluster mode, which this release does not support.", "Use one without it.")
        if info.get("role") == "slave":
            return failed("It is a read-only replica.", "BROKER_REDIS_URL must lead to the primary.")
        policy = str(info.get("maxmemory_policy", "noeviction"))
        saved = "with" if info.get("aof_enabled") else "without"
        detail = f"Version {str(info.get('redis_version'))[:20]}, primary, {policy}, {saved} append-only file."
        if info.get("maxmemory") and policy == "noeviction":
            return warning(
                f"{detail} When its memory is full it refuses writes.",
                "Set maxmemory-policy to volatile-lru or allkeys-lru.",
            )
        return fine(detail)

    async def _commands(self) -> CheckFinding:
        name = f"{self._prefix}:doctor:{secrets.token_hex(8)}"
        refused: list[str] = []
        trials = _trials(name)
        for command in trials:
            try:
                await self._client.call("check", partial(_tried, command))
            except CacheUnavailableError as error:
                if error.detail not in refused:
                    refused.append(error.detail)
        if refused:
            return failed(" ".join(refused), _ACL_PAGE)
        return fine(f"All {len(trials)} commands are allowed below BROKER_REDIS_PREFIX.")


def _trials(name: str) -> list[tuple[str | int, ...]]:
    """Each command of the broker once, on keys of the check's own that end by themselves."""
    stream = f"{name}:stream"
    return [
        ("SET", name, "1", "PX", _TRIAL_MILLISECONDS),
        ("GET", name),
        ("MGET", name),
        ("EXISTS", name),
        ("TYPE", name),
        ("PTTL", name),
        ("PEXPIRE", name, _TRIAL_MILLISECONDS),
        ("EVAL", "return 1", 1, name),
        ("EVALSHA", "0" * 40, 1, name),
        ("XADD", stream, "NOMKSTREAM", "*", "field", "value"),  # adds nothing, because there is no such stream
        ("XRANGE", stream, "-", "+", "COUNT", 1),
        ("XREVRANGE", stream, "+", "-", "COUNT", 1),
        ("XREAD", "COUNT", 1, "STREAMS", stream, "0"),
        ("PING",),
        ("DEL", name),
    ]


async def _tried(command: tuple[str | int, ...], redis: Redis) -> None:
    try:
        await redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's
    except NoScriptError:
        return  # it was allowed to ask


async def _info(redis: Redis) -> Mapping[str, Any] | None:
    try:
        answer: Mapping[str, Any] = await redis.info()
    except NoPermissionError:
        return None
    return answer
