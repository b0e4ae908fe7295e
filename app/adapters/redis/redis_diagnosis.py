"""Checks of Redis: whether it answers and how fast, whether each command is allowed, and what kind of server it is."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from redis.exceptions import NoPermissionError, NoScriptError

from app.adapters.redis.client import CALL_TIMEOUT, RedisClient
from app.diagnosis import Check, CheckFinding, failed, fine, warning
from app.domain.dependency_errors import CacheUnavailableError

_PINGS = 5
_SLOW_SECONDS = CALL_TIMEOUT / 5
_TRIAL_MILLISECONDS = 5000
_REMEDY = "Check BROKER_REDIS_URL, the network path to it, its TLS and the login."
_SENTINEL_REMEDY = "Check the hosts in BROKER_REDIS_URL, and the Sentinels' own login."
_ACL_PAGE = "docs/least-privilege.md has the whole ACL line of the user."


class RedisDiagnosis:
    """The checks of one Redis.

    Args:
        client: Makes the calls; its own deadline should be longer than the broker's.
        prefix: Beginning of all key names.

    """

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        # The braces keep all keys of the check in one slot of a cluster.
        self._name = f"{prefix}:{{doctor}}"

    def checks(self) -> list[Check]:
        """All of them."""
        return [
            *self._checks_of_the_topology(),
            Check("redis", self._reachable, remedy=_REMEDY),
            Check("redis server", self._server, "redis"),
            Check("redis commands", self._commands, "redis server"),
        ]

    def _checks_of_the_topology(self) -> Iterator[Check]:
        if self._client.has_sentinels:
            yield Check("redis sentinels", self._sentinels, remedy=_SENTINEL_REMEDY)
        if self._client.is_cluster:
            yield Check("redis cluster", self._all_primaries, remedy=_REMEDY)

    async def _all_primaries(self) -> CheckFinding:
        primaries = await self._client.primaries("check")
        for primary in primaries:
            await self._client.call_at("check", primary, ("PING",))
        return fine(f"{len(primaries)} primaries answer.")

    async def _sentinels(self) -> CheckFinding:
        answers = await self._client.sentinel_answers()
        failures = [answer.failure.detail for answer in answers if answer.failure is not None]
        primaries = {answer.primary for answer in answers} - {None}
        if not primaries:
            return failed(" ".join(dict.fromkeys(failures)), _SENTINEL_REMEDY)
        detail = f"{len(answers) - len(failures)} of {len(answers)} name the primary."
        if len(primaries) > 1:
            return warning(f"{detail} They name different ones.", "Wait for the end of a failover; then reset those.")
        if failures:
            return warning(f"{detail} {' '.join(dict.fromkeys(failures))}", _SENTINEL_REMEDY)
        return fine(detail)

    async def _reachable(self) -> CheckFinding:
        now = asyncio.get_running_loop().time
        times = []
        for _ in range(_PINGS + 1):
            begun = now()
            await self._client.call("check", self._name, ("MGET", self._name))
            times.append(now() - begun)
        typical = median(times[1:])  # the first one connects
        detail = f"It answers in {typical * 1000:.1f} ms."
        if typical > _SLOW_SECONDS:
            return warning(
                f"{detail} The broker waits {CALL_TIMEOUT * 1000:.0f} ms at most.", "Put Redis closer to it."
            )
        return fine(detail)

    async def _server(self) -> CheckFinding:
        answers = await self._client.call("check", self._name, ("INFO",), tolerated=NoPermissionError)
        if not answers:
            return fine("The user may not run INFO, so role, eviction and persistence are unknown.")
        info: Mapping[str, Any] = answers[0]
        if info.get("cluster_enabled") and not self._client.is_cluster:
            return failed("It runs in cluster mode.", "BROKER_REDIS_URL must begin with redis+cluster://.")
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
        name = f"{self._name}:{secrets.token_hex(8)}"
        refused: list[str] = []
        trials = _trials(name)
        for command in trials:
            try:
                await self._client.call("check", name, command, tolerated=NoScriptError)  # it was allowed to ask
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
        ("GETRANGE", name, 0, 1),
        ("MGET", name),
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
