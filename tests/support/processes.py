"""Runs the command line as real processes: starts them, reads their lines with a deadline, ends them for sure."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.repository import ROOT

CLI = (sys.executable, "-m", "app.cli")

START_SECONDS = 60.0
"""How long a process may take to say that it is up; generous, for a loaded machine."""

END_SECONDS = 30.0
_KEPT_LINES = 10_000


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    code: int
    stdout: str
    stderr: str


class ProcessOutput:
    """The lines of one stream of a process, as they come."""

    def __init__(self, name: str, stream: asyncio.StreamReader) -> None:
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._name = name
        self._news = asyncio.Condition()
        self._ended = False
        self._task = asyncio.create_task(self._read(stream))

    @property
    def text(self) -> str:
        """All lines so far."""
        return "".join(f"{line}\n" for line in self.lines)

    async def line(self, pattern: str, within: float) -> re.Match[str]:
        """The first line that matches `pattern`, waited for.

        Raises:
            AssertionError: It did not come in time, or the stream ended without it.

        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within), self._news:
                while True:
                    for line in self.lines:
                        if found := re.search(pattern, line):
                            return found
                    if self._ended:
                        break
                    await self._news.wait()
        raise AssertionError(f"no line like {pattern!r} on {self._name}:\n{self.text}")

    async def end(self) -> None:
        """Wait until the stream has ended."""
        await self._task

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            async with self._news:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()
        async with self._news:
            self._ended = True
            self._news.notify_all()


class RunningCli:
    """A command that runs.

    Args:
        process: The process.

    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.pid = process.pid
        self.stdout = ProcessOutput("stdout", process.stdout)
        self.stderr = ProcessOutput("stderr", process.stderr)
        self._process = process

    async def said(self, pattern: str, *, stream: str = "stdout", within: float = START_SECONDS) -> re.Match[str]:
        """The first line of ``stdout`` or ``stderr`` that matches; both streams are shown if it does not come."""
        output = self.stdout if stream == "stdout" else self.stderr
        try:
            return await output.line(pattern, within)
        except AssertionError as error:
            other = self.stderr if stream == "stdout" else self.stdout
            raise AssertionError(f"{error}\nThe other stream:\n{other.text}") from None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        # Not by the process object, whose way would reap a child that has ended before asyncio can.
        os.kill(self.pid, number)

    async def ended(self, within: float = END_SECONDS) -> Finished:
        """Wait for the end; all output has been read then."""
        async with asyncio.timeout(within):
            code = await self._process.wait()
            await self.stdout.end()
            await self.stderr.end()
        return Finished(code, self.stdout.text, self.stderr.text)

    async def stop(self, number: signal.Signals = signal.SIGTERM, within: float = END_SECONDS) -> Finished:
        """Send a signal and wait for the end."""
        self.send(number)
        return await self.ended(within)

    async def kill(self) -> None:
        """End it whatever it does, with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self.ended()


@contextlib.asynccontextmanager
async def running_cli(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    program: tuple[str, ...] = CLI,
) -> AsyncIterator[RunningCli]:
    """Run a command in the background; it is killed at the end if it still runs.

    Args:
        arguments: Its arguments.
        env: Its environment, besides ``PATH`` and a ``HOME`` that is empty.
        cwd: Where it runs; default: that home.
        program: What to run instead of the command line.

    """
    with tempfile.TemporaryDirectory(prefix="cli-home-") as home:
        process = await asyncio.create_subprocess_exec(
            *program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(Path(home), env),
            cwd=cwd or home,
            start_new_session=True,
            limit=1024 * 1024,
        )
        running = RunningCli(process)
        try:
            yield running
        finally:
            await running.kill()


async def run_cli(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    program: tuple[str, ...] = CLI,
    within: float = START_SECONDS,
) -> Finished:
    """Run a command to its end."""
    async with running_cli(*arguments, env=env, cwd=cwd, program=program) as process:
        return await process.ended(within)


async def run_shell(line: str, *, within: float = START_SECONDS) -> Finished:
    """Run a command line in a POSIX shell, word for word."""
    return await run_cli(line, program=("sh", "-c"), within=within)


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: nothing of ours but the search path, so that no setting leaks in."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        **(more or {}),
    }
