"""How many commands Redis gets: for a warm request, for a refresh, and from a replica at rest.

Counted by ``MONITOR``, because ``INFO commandstats`` also counts what scripts do inside Redis, which is not a command
of the client. Commands that follow one another within `_PIPELINED` seconds on one connection share a round trip. At
rest means that tokens are held and no one asks, with few orgs and with many.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.load import Asked, Effort, sample
from benchmarks.report import Row, at_most
from benchmarks.scene import Scene, org, scene
from benchmarks.servers import Served

FEW, MANY = 10, 500
REST_SECONDS = 25.0
LIFETIME = 40.0
"""Of the tokens whose refreshes are counted, in seconds."""

_LINE = re.compile(r"^(\d+\.\d+) \[\d+ ([^\]]+)\] \"", re.MULTILINE)
_PIPELINED = 0.00015
_UNIT = "commands"


@dataclass
class Counted:
    """What Redis got, and for how long it was watched, in seconds."""

    seconds: float = 0.0
    commands: int = 0
    round_trips: int = 0

    @property
    def rate(self) -> float:
        """Commands per second."""
        return self.commands / self.seconds


def measure(effort: Effort) -> list[Row]:
    """The rows of all three."""
    few, _ = _resting(FEW, effort)
    many, under_load = _resting(MANY, effort)
    refresh, trips = _refresh()
    rest = f"{few.rate:.2f}/s with {FEW} orgs, {many.rate:.2f}/s with {MANY}"
    each = (
        "Two reads, the lease, the budget, and the write that also gives the lease back, are one command each. A PING"
        " for a connection that was idle for 15 s, and a poll more or less of the replica at rest, show too."
    )
    # Less than one more in the whole run is the rest's own fluctuation.
    return [
        Row("Redis commands of a warm request", "", at_most(0.001, _UNIT), under_load, "above the rate at rest"),
        Row(
            "Redis commands of a refresh",
            "",
            at_most(6, _UNIT),
            refresh,
            f"{FEW} orgs, tokens of {LIFETIME:.0f} s",
            each,
        ),
        Row(
            "Redis round trips of a refresh",
            "",
            at_most(6.05, "round trips"),
            trips,
            "commands in a pipeline share one",
            "On a busy machine the commands of one pipeline arrive further apart than `_PIPELINED`, and count as two.",
        ),
        Row("Redis commands of a replica and second at rest", "", at_most(3, _UNIT), many.rate, rest),
        Row(
            f"the same with {MANY:,} orgs",
            f"with {FEW} orgs",
            at_most(1.1),
            many.rate / few.rate,
            rest,
            "Both are one poll of three commands a second; a busy machine delays the polls.",
        ),
    ]


def _resting(orgs: int, effort: Effort) -> tuple[Counted, float]:
    """What a replica at rest sends, and how many commands more for each request under load."""
    with scene(orgs) as stage:
        port = stage.start_redis()
        broker = _warmed(stage, orgs)
        with _counting(port) as rest:
            time.sleep(REST_SECONDS)
        asked = Asked(broker.url(f"/token?org={org(0)}"), [broker.pid], [stage.bearer])
        with _counting(port) as loaded:
            requests = sample(asked, effort).rate * effort.seconds
    return rest, max(0.0, loaded.commands - rest.rate * loaded.seconds - 1) / requests


def _refresh() -> tuple[float, float]:
    """Commands and round trips of a refresh, less what a replica at rest sends."""
    with scene(FEW, LIFETIME) as stage:
        port = stage.start_redis()
        broker = _warmed(stage, FEW)
        with _counting(port) as rest:
            time.sleep(LIFETIME / 5)
        before = _exchanges(broker)
        with _counting(port) as refreshing:
            time.sleep(LIFETIME * 0.7)
        refreshes = _exchanges(broker) - before
    idle = refreshing.seconds / rest.seconds
    commands = (refreshing.commands - rest.commands * idle) / refreshes
    return commands, (refreshing.round_trips - rest.round_trips * idle) / refreshes


def _warmed(stage: Scene, orgs: int) -> Served:
    broker = stage.start_broker()
    for number in range(orgs):
        stage.get(broker, f"/token?org={org(number)}")
    return broker


def _exchanges(broker: Served) -> float:
    with urllib.request.urlopen(broker.url("/metrics"), timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    issued = [line for line in lines if line.startswith("ims_token_broker_exchanges_total") and 'issued"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in issued)


@contextmanager
def _counting(port: int) -> Iterator[Counted]:
    """Count while the context lasts."""
    counted = Counted()
    with tempfile.TemporaryFile("w+") as output:
        monitor = subprocess.Popen(["redis-cli", "-p", str(port), "monitor"], stdout=output)
        began = time.monotonic()
        try:
            yield counted
        finally:
            counted.seconds = time.monotonic() - began
            monitor.terminate()
            monitor.wait(10)
        output.seek(0)
        _count(output.read(), counted)


def _count(output: str, counted: Counted) -> None:
    """Count the lines of ``MONITOR`` that a client caused."""
    last: dict[str, float] = {}
    for at, client in _LINE.findall(output):
        if client == "lua":
            continue
        counted.commands += 1
        counted.round_trips += float(at) - last.get(client, 0.0) > _PIPELINED
        last[client] = float(at)
