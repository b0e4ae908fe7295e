"""Child processes that outlive a test's event loop: output in files, signals, and a certain end."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

START_SECONDS = 30.0
END_SECONDS = 30.0
_LOOK_SECONDS = 0.02


class Child:
    """A process with its standard output and standard error in files.

    Args:
        name: What to call it in complaints and file names.
        command: Program and arguments.
        folder: The folder for its files; also its working directory.
        env: Its whole environment.

    """

    def __init__(self, name: str, command: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.stdout = folder / f"{name}.out"
        self.stderr = folder / f"{name}.err"
        self._command = list(command)
        self._folder = folder
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        """Whether it runs, or stands still."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start it; does not wait for anything. What an earlier run wrote is kept."""
        with self.stdout.open("ab") as out, self.stderr.open("ab") as err:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=self._folder, env=self._env
            )

    def said(self, pattern: str, file: Path | None = None) -> re.Match[str]:
        """The last line of a file (standard error unless said) that matches, waited for."""
        path = file or self.stderr
        found: list[re.Match[str]] = []

        def look() -> bool:
            found[:] = re.finditer(pattern, path.read_text(errors="replace"))
            return bool(found) or not self.alive

        wait_until(look, f"{self.name} does not say {pattern!r}: {self.tail()}")
        assert found, f"{self.name} ended: {self.tail()}"
        return found[-1]

    def kill(self) -> None:
        """``kill -9``, and wait for the end. Nothing happens if it has ended."""
        if self.alive:
            self.send(signal.SIGKILL)
            self._running().wait(END_SECONDS)

    def terminate(self) -> None:
        """``SIGTERM``; does not wait."""
        self.send(signal.SIGTERM)

    def ended(self, within: float = END_SECONDS) -> int:
        """Wait for the end; the exit code."""
        return self._running().wait(within)

    def freeze(self) -> None:
        """``SIGSTOP``: its connections stay open, and nothing answers."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze`."""
        if self.alive:
            self.send(signal.SIGCONT)

    def tail(self) -> str:
        """The end of what it said, for complaints."""
        return "".join(path.read_text(errors="replace")[-2000:] for path in (self.stdout, self.stderr) if path.exists())

    def send(self, number: signal.Signals) -> None:
        """Send a signal; one to a process that has ended is lost."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} was not started"
        return self._process


def wait_until(ready: Callable[[], bool], complaint: str, within: float = START_SECONDS) -> None:
    """Wait until `ready()`; fail with `complaint` if it does not come true in time."""
    end = time.monotonic() + within
    while not ready():
        if time.monotonic() > end:
            pytest.fail(complaint, pytrace=False)
        time.sleep(_LOOK_SECONDS)


_SERVER_PORTS = (12_000, 32_000)
"""Below the ports of outgoing connections of Linux (32768) and of macOS (49152)."""


def free_port() -> int:
    """A port of this machine that is free now.

    Not one of those that the system gives to outgoing connections: one of these could take it before a server does.
    """
    while True:
        port = random.randrange(*_SERVER_PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def listens(port: int) -> bool:
    """Whether a process accepts connections on a port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
