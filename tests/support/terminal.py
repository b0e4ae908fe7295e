"""Runs a command at a pseudo-terminal, as a person sees it, and answers its questions."""

from __future__ import annotations

import asyncio
import os
import pty
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from signal import Signals

from tests.support.processes import CLI, END_SECONDS, START_SECONDS, Finished, environment


async def run_in_terminal(
    *arguments: str,
    answers: Mapping[str, str | Signals],
    env: Mapping[str, str],
    cwd: Path,
    within: float = START_SECONDS,
) -> Finished:
    """Run a command whose input, output and errors are one terminal.

    Args:
        arguments: Its arguments.
        answers: What is typed after the screen shows a text, or the signal that is sent then, by that text.
        env: Its environment, besides ``PATH`` and a ``HOME`` that is empty.
        cwd: Its working directory.
        within: Seconds until it must have ended.

    """
    screen, inside = pty.openpty()
    with tempfile.TemporaryDirectory(prefix="cli-home-") as home:
        process = await asyncio.create_subprocess_exec(
            *CLI,
            *arguments,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env=environment(Path(home), {"TERM": "xterm", **env}),
            cwd=cwd,
            start_new_session=True,
        )
        os.close(inside)
        try:
            async with asyncio.timeout(within):
                shown = await asyncio.to_thread(_watch, screen, process.pid, dict(answers))
                code = await asyncio.wait_for(process.wait(), END_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
            os.close(screen)
    return Finished(code, shown, "")


def _watch(screen: int, pid: int, answers: dict[str, str | Signals]) -> str:
    """All that the screen shows until the process ends; questions are answered as they come."""
    shown = b""
    while True:
        try:
            piece = os.read(screen, 4096)
        except OSError:  # Linux: no process has the terminal open anymore.
            return shown.decode(errors="replace")
        if not piece:
            return shown.decode(errors="replace")
        shown += piece
        for question in [text for text in answers if text.encode() in shown]:
            answer = answers.pop(question)
            if isinstance(answer, Signals):
                _wait_until_it_reads(pid)
                os.kill(pid, answer)
            else:
                os.write(screen, f"{answer}\n".encode())


def _wait_until_it_reads(pid: int) -> None:
    """Wait until a process that has shown its question sleeps in the read of the answer, or has ended.

    CPython's `input` looks for signals before and after that read. One that arrives between the question and the read
    interrupts nothing, and a person would press Ctrl-C again.
    """
    status = Path(f"/proc/{pid}/stat")
    while status.exists() and status.read_text().rpartition(") ")[2][0] not in "SZ":
        time.sleep(0.005)
