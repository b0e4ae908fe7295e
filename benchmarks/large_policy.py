"""A policy of 10,000 callers: what a decision costs, and for how long a reload stalls the event loop.

The decision (API key to caller to permission) is compared with a policy of 10 callers, 100 rules each in both. As many
callers ask in both, since what is compared is the size of the policy; and once more, all 10,000 ask.

The reload is the one of a whole broker in this process, from a file of 10,000 callers with `RULES_IN_FILE` rules each:
with 100 rules each it would exceed the 16 MiB that a policy file may have. A stall is the time between two runs of a
callback that is due every millisecond. It is counted in CPU time of the process, which has a core of its own, so that
other work on the machine does not count.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import uvloop

from app.bootstrap.broker import assembled
from app.domain.identity import ApiKeyIdentity
from app.domain.names import CredentialRef, parse_org
from app.domain.policy import Action, Caller, Policy, Rule
from app.settings.settings import Settings, read_settings
from benchmarks.load import Effort
from benchmarks.report import Row, at_most
from benchmarks.scene import Scene, org, scene
from benchmarks.servers import SERVER_CORE, free_port, on_core

CALLERS, FEW_CALLERS, RULES = 10_000, 10, 100
RULES_IN_FILE = 10
_DECISIONS = 20_000
_TICK = 0.001
_DEADLINE = 120.0
_AFTER = 3.0
"""Seconds in which the old policy is let go."""


@dataclass(frozen=True)
class _Stall:
    """The longest stall in CPU seconds and in seconds, and the seconds that the reload took."""

    cpu: float
    wall: float
    reload: float


def measure(effort: Effort) -> list[Row]:
    """The rows of the decision and of the reload."""
    rows = list(_decisions(effort.rounds))
    with scene() as stage:
        _write_policy(stage, "first")
        settings = read_settings(stage.broker_command(free_port())[1])
        with on_core(SERVER_CORE):
            stalls = [uvloop.run(_reload(stage, settings)) for _ in range(effort.rounds)]
    cpu, wall, seconds = (
        statistics.median(each) for each in zip(*((one.cpu, one.wall, one.reload) for one in stalls), strict=True)
    )
    file = f"{CALLERS:,} callers with {RULES_IN_FILE} rules each, reloaded in {seconds:.1f} s"
    seen = f"{file}; {1000 * wall:.0f} ms by the clock"
    freed = "The old policy is freed at once, when its last user lets it go."
    return [*rows, Row("longest stall of the loop in a reload", "", at_most(50, "ms"), 1000 * cpu, seen, freed)]


def _decisions(rounds: int) -> Iterator[Row]:
    few, many = _policy(FEW_CALLERS), _policy(CALLERS)
    asked = {
        "as many callers ask": (_asked(few, FEW_CALLERS), _asked(many, FEW_CALLERS)),
        "all its callers ask": (_asked(few, FEW_CALLERS), _asked(many, CALLERS)),
    }
    for who, (of_few, of_many) in asked.items():
        found = [(_seconds(many, of_many), _seconds(few, of_few)) for _ in range(rounds)]
        microseconds = [1e6 * statistics.median(each) / _DECISIONS for each in zip(*found, strict=True)]
        yield Row(
            f"decision, policy of {CALLERS:,} callers with {RULES} rules each, {who}",
            f"policy of {FEW_CALLERS} callers",
            at_most(1.2),
            statistics.median(large / small for large, small in found),
            f"{microseconds[0]:.2f} against {microseconds[1]:.2f} µs",
            "What 10 callers may do stays in the caches of the processor; what 10,000 may do is read from memory.",
        )


def _digest(caller: int) -> bytes:
    return hashlib.sha256(f"key of caller {caller}".encode()).digest()


def _policy(callers: int) -> Policy:
    orgs = [frozenset({parse_org(org(number))}) for number in range(RULES)]
    return Policy(
        Caller(f"caller-{number}", tuple(Rule(names) for names in orgs), frozenset({_digest(number)}))
        for number in range(callers)
    )


def _asked(policy: Policy, callers: int) -> Sequence[tuple[ApiKeyIdentity, CredentialRef]]:
    """`_DECISIONS` questions of so many callers of the policy, each of a random one about a random org."""
    draw = random.Random(0)  # the same in each run; no secrets
    digests = [_digest(number) for number in range(0, len(policy.callers), len(policy.callers) // callers)]
    refs = [CredentialRef(parse_org(org(number))) for number in range(RULES)]
    return [(ApiKeyIdentity(draw.choice(digests)), draw.choice(refs)) for _ in range(_DECISIONS)]


def _seconds(policy: Policy, asked: Sequence[tuple[ApiKeyIdentity, CredentialRef]]) -> float:
    began = time.thread_time()
    for identity, ref in asked:
        permission = policy.caller(identity).permission(ref)
        if permission is None or not permission.allows(Action.VEND, None):
            raise SystemExit("A caller was refused what it may do.")
    return time.thread_time() - began


def _write_policy(stage: Scene, name: str) -> None:
    """Replace the policy as a whole; `name` makes it another version."""
    callers = [
        {
            "name": f"{name}-{number}",
            "match": {"api_key_sha256": [_digest(number).hex()]},
            "allow": [{"orgs": [org(rule)]} for rule in range(RULES_IN_FILE)],
        }
        for number in range(CALLERS)
    ]
    written = stage.folder / "policy.new"
    written.write_text(json.dumps({"version": 1, "callers": callers}))
    written.rename(stage.folder / "policy.yaml")


async def _reload(stage: Scene, settings: Settings) -> _Stall:
    """The longest stall from a change of the policy until `_AFTER` seconds after it has come into force."""
    async with assembled(settings) as broker:
        policy, loop = broker.services.policy, asyncio.get_running_loop()
        before, longest, wall, in_force = policy.current.version, 0.0, 0.0, math.inf
        await asyncio.to_thread(_write_policy, stage, f"changed-{before}")
        began = last = loop.time()
        cpu = time.process_time()
        while last < in_force + _AFTER:
            await asyncio.sleep(_TICK)
            longest, cpu = max(longest, time.process_time() - cpu), time.process_time()
            wall, last = max(wall, loop.time() - last - _TICK), loop.time()
            if in_force == math.inf and policy.current.version != before:
                in_force = last
            if last - began > _DEADLINE:
                raise SystemExit("The new policy did not come into force.")
    return _Stall(longest, wall, in_force - began)
