"""Load by ``wrk`` on servers that take turns, and ratios of runs that followed one another.

Other processes disturb requests per second of CPU time much less than requests per second, so ratios of throughput are
taken from the former. Only runs of one turn are compared; the claim is the median over all turns.
"""

from __future__ import annotations

import re
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import LOAD_CORE, cpu_seconds, on_core

_PRINTED = (r"(\d+) requests in", r"Requests/sec:\s+([\d.]+)", r"99%\s+([\d.]+)(us|ms|s|m)")
_IN_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Sample:
    """One run of the load.

    Args:
        rate: Requests per second.
        p99: The 99th percentile of the time of an answer, in milliseconds.
        per_cpu_second: Requests per second of the server's CPU time.
        output: What ``wrk`` and its script printed.

    """

    rate: float
    p99: float
    per_cpu_second: float
    output: str = ""


@dataclass(frozen=True)
class Asked:
    """What is asked of a server, again and again.

    Args:
        url: The URL.
        pids: The processes whose CPU time counts.
        headers: Headers as ``Name: value``.
        script: A Lua script of ``wrk``, or None.
        may_fail: Whether answers other than 2xx are expected; the script then checks them.

    """

    url: str
    pids: Sequence[int]
    headers: Sequence[str] = ()
    script: Path | None = None
    may_fail: bool = False


@dataclass(frozen=True)
class Effort:
    """How long the load runs.

    Args:
        seconds: One run.
        rounds: Runs of each server.
        connections: Requests at once.

    """

    seconds: int = 2
    rounds: int = 5
    connections: int = 32


def sample(asked: Asked, effort: Effort) -> Sample:
    """Run the load once.

    Raises:
        SystemExit: There were errors, so the figures mean nothing.

    """
    headers = [part for header in asked.headers for part in ("-H", header)]
    script = [] if asked.script is None else ["-s", str(asked.script)]
    command = [
        "wrk",
        "-t1",
        f"-c{effort.connections}",
        f"-d{effort.seconds}s",
        "--latency",
        "--timeout",
        "30s",
        *headers,
        *script,
    ]
    before = sum(map(cpu_seconds, asked.pids))
    with on_core(LOAD_CORE):
        out = subprocess.run([*command, asked.url], check=True, capture_output=True, text=True).stdout
    used = sum(map(cpu_seconds, asked.pids)) - before
    if "Socket errors" in out or ("Non-2xx" in out and not asked.may_fail):
        raise SystemExit(f"The load met errors:\n{out}")
    total, rate, (p99, unit) = (_printed(form, out) for form in _PRINTED)
    return Sample(float(rate[0]), float(p99) * _IN_MILLISECONDS[unit], int(total[0]) / max(used, 0.01), out)


def _printed(form: str, output: str) -> tuple[str, ...]:
    found = re.search(form, output)
    assert found is not None, output
    return found.groups()


@dataclass(frozen=True)
class Turns:
    """Runs of several servers, in turns."""

    samples: Mapping[str, Sequence[Sample]]

    def median(self, name: str, attribute: str = "per_cpu_second") -> float:
        """The median of an attribute of the runs of one server."""
        return statistics.median(_value(run, attribute) for run in self.samples[name])

    def ratio(self, name: str, reference: str, attribute: str = "per_cpu_second") -> float:
        """The median of the ratios within each turn."""
        pairs = zip(self.samples[name], self.samples[reference], strict=True)
        return statistics.median(_value(one, attribute) / _value(other, attribute) for one, other in pairs)

    def seen(self, name: str, reference: str, attribute: str = "per_cpu_second") -> str:
        """Both medians, for a person to read."""
        digits, unit = (2, " ms") if attribute == "p99" else (0, "/CPU s" if attribute == "per_cpu_second" else "/s")
        one, other = self.median(name, attribute), self.median(reference, attribute)
        return f"{one:,.{digits}f} against {other:,.{digits}f}{unit}"


def _value(run: Sample, attribute: str) -> float:
    return float(getattr(run, attribute))


def take_turns(servers: Mapping[str, Asked], effort: Effort) -> Turns:
    """Let the servers take turns under load. Each is asked for a second first."""
    for asked in servers.values():
        sample(asked, Effort(1, 1, effort.connections))
    runs: dict[str, list[Sample]] = {name: [] for name in servers}
    for _ in range(effort.rounds):
        for name, asked in servers.items():
            runs[name].append(sample(asked, effort))
    return Turns(runs)
