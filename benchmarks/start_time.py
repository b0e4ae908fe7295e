"""From the start of ``serve`` to the first 200 of ``/readyz``, against a Python that only imports the frameworks.

All have compiled modules, as in the image: the scene's folder has them, because the environment may forbid Python to
write them next to the sources. The time in which a process waits for its core, because other work uses it, does not
count.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Effort
from benchmarks.report import Row, at_most
from benchmarks.scene import Scene, scene
from benchmarks.servers import SERVER_CORE, cpu_seconds, free_port, on_core

_DEADLINE = 60.0
_REFERENCE = "import fastapi, uvicorn"


@dataclass(frozen=True)
class _Start:
    """Seconds until a process was ready, without those that it waited for its core; and its CPU seconds until then."""

    wall: float
    cpu: float


def measure(effort: Effort) -> list[Row]:
    """The rows of the start: without other systems, and with Redis and Vault."""
    imports, alone, connected = list[_Start](), list[_Start](), list[_Start]()
    with scene() as files, scene() as systems:
        systems.start_redis()
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(files.folder / "compiled")}
        # No broker waits for Vault when it starts, so none needs to run.
        vault = {"BROKER_CREDENTIAL_STORE": "vault", "BROKER_VAULT_AUTH": "token", "BROKER_VAULT_TOKEN": "unused"}
        vault |= {"BROKER_CREDENTIAL_DIR": "", "BROKER_VAULT_ADDR": f"http://127.0.0.1:{free_port()}"}
        for _ in range(1 + effort.rounds):
            imports.append(_imported(compiled))
            alone.append(_ready(files, compiled))
            connected.append(_ready(systems, {**compiled, **vault}))
    # The first round has compiled the modules.
    return [
        _row("start to the first 200 of /readyz", alone[1:], imports[1:]),
        _row("the same, with Redis and Vault", connected[1:], imports[1:]),
    ]


def _row(what: str, starts: list[_Start], imports: list[_Start]) -> Row:
    ratio = statistics.median(start.wall / one.wall for start, one in zip(starts, imports, strict=True))
    seen = f"{_median(one.wall for one in starts)} against {_median(one.wall for one in imports)} s"
    cpu = f"{_median(one.cpu for one in starts)} against {_median(one.cpu for one in imports)} s of CPU time"
    reason = (
        "Nearly all of it is imports. redis-py and hvac with its requests are a third; both are needed from the start."
    )
    return Row(what, f"python -c '{_REFERENCE}'", at_most(2), ratio, f"{seen}; {cpu}", reason)


def _median(seconds: Iterable[float]) -> str:
    return f"{statistics.median(seconds):.2f}"


def _imported(compiled: Mapping[str, str]) -> _Start:
    began = time.monotonic()
    with on_core(SERVER_CORE):
        process = subprocess.Popen([sys.executable, "-c", _REFERENCE], env={**os.environ, **compiled})
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    start = _Start(time.monotonic() - began - _waited(process.pid), cpu_seconds(process.pid))
    if process.wait() != 0:
        raise SystemExit("The frameworks could not be imported.")
    return start


def _ready(stage: Scene, settings: Mapping[str, str]) -> _Start:
    command, environment = stage.broker_command(port := free_port())
    environment = {name: value for name, value in {**environment, **settings}.items() if value}
    began = time.monotonic()
    with on_core(SERVER_CORE):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() - began > _DEADLINE:
                raise SystemExit("The broker did not start.")
            time.sleep(0.005)
        return _Start(time.monotonic() - began - _waited(process.pid), cpu_seconds(process.pid))
    finally:
        process.terminate()
        process.wait(30)


def _waited(pid: int) -> float:
    """Seconds that a process waited for its core, although it could run."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
            return True
    except (OSError, urllib.error.HTTPError):
        return False
