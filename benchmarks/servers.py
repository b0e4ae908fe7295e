"""Servers under measurement: started on one core, waited for, and their CPU time and memory read."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE = 0
"""The core of the server that is measured; another one is for the load and for what the server calls."""

LOAD_CORE = 1

_SHOWN = 2000
"""The characters of a server's log that are shown if something fails."""


@dataclass(frozen=True)
class Served:
    """A server that runs: its loopback port and its process id."""

    port: int
    pid: int

    def url(self, path: str = "/") -> str:
        """The URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def children(self) -> list[int]:
        """The process ids of its children: a server may work in processes of its own."""
        return [int(child) for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers HTTP at `port`; exit if none does."""
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=1):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("A server did not start.")


def free_port() -> int:
    """A free loopback port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run this thread, and what it starts, on one core (modulo the number of cores) while the context lasts."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[core % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(
    command: Sequence[str], port: int, environment: Mapping[str, str] | None = None, core: int = SERVER_CORE
) -> Iterator[Served]:
    """A server process on one core, from its first HTTP answer to the end of the context."""
    with tempfile.TemporaryFile() as log:
        with on_core(core):
            process = subprocess.Popen(
                command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL, stderr=log
            )
        try:
            wait_for(port, process)
            yield Served(port, process.pid)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-_SHOWN:])
            raise
        finally:
            process.terminate()
            process.wait(30)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process with its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
