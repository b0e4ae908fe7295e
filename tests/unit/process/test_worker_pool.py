"""The parent of workers, as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

SCRIPT = """
import os, signal, sys
from app.process.worker_pool import Worker, WorkerPool

def say(text):
    os.write(1, (text + "\\n").encode())

def ended(index, incarnation, status, pause):
    say(f"ended {index}.{incarnation} {status} {pause}")

{before}
worker = WorkerPool(2, 0.5, lambda: say("started"), ended).run()
if not isinstance(worker, Worker):
    sys.exit(worker)
"""


def pool(of_a_worker: str, before: str = "") -> subprocess.Popen[str]:
    """A pool of two workers that run this code; `before` runs in the parent before it starts them."""
    script = SCRIPT.replace("{before}", before) + of_a_worker
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str], number: int) -> list[str]:
    """The next lines, sorted."""
    assert process.stdout is not None
    return sorted(process.stdout.readline().rstrip() for _ in range(number))


def test_a_first_worker_that_ends_at_once_is_replaced() -> None:
    """It worked, so the start goes on; the status is that of the workers that a signal ends."""
    process = pool("""
worker.ready()
if (worker.index, worker.incarnation) == (0, 0):
    os._exit(3)
say(f"runs {worker.index}.{worker.incarnation}")
signal.pause()
""")
    with process:
        assert said(process, 4) == ["ended 0.0 3 0.5", "runs 0.1", "runs 1.0", "started"]
        process.send_signal(signal.SIGTERM)
        assert said(process, 2) == ["ended 0.1 143 None", "ended 1.0 143 None"]
        assert process.wait(10) == 143


def test_a_first_worker_that_reports_and_ends_before_the_report_is_read_is_replaced() -> None:
    """A signal wakes the parent, and both happen before it looks which workers have exited."""
    process = pool(
        """
if (worker.index, worker.incarnation) == (0, 0):
    os.kill(os.getppid(), signal.SIGCHLD)
    os.read(goes_on, 1)
    worker.ready()
    os._exit(3)
worker.ready()
say(f"runs {worker.index}.{worker.incarnation}")
signal.pause()
""",
        before="""
goes_on, go_on = os.pipe()
waitpid = os.waitpid

def late(pid, options):
    os.waitpid = waitpid
    os.write(go_on, b"1")
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    return waitpid(pid, options)

os.waitpid = late
""",
    )
    with process:
        assert said(process, 4) == ["ended 0.0 3 0.5", "runs 0.1", "runs 1.0", "started"]
        process.send_signal(signal.SIGTERM)
        assert said(process, 2) == ["ended 0.1 143 None", "ended 1.0 143 None"]
        assert process.wait(10) == 143


def test_a_first_worker_that_never_works_ends_the_start() -> None:
    """No other worker is started, and its status is that of the parent; a success is none."""
    for status, seen in ((2, 2), (0, 1)):
        with pool(f"say('runs')\nos._exit({status})") as process:
            assert said(process, 2) == [f"ended 0.0 {status} None", "runs"]
            assert process.wait(10) == seen


def test_a_worker_that_does_not_end_is_killed() -> None:
    """After the time that it has."""
    process = pool("""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker.ready()
while True:
    signal.pause()
""")
    with process:
        assert said(process, 1) == ["started"]
        process.send_signal(signal.SIGTERM)
        assert said(process, 2) == ["ended 0.0 137 None", "ended 1.0 137 None"]
        assert process.wait(10) == 137


def test_the_parent_waits_for_a_killed_worker() -> None:
    """Without a busy loop, if the worker takes a while to exit: the kill is repeated once a second at most."""
    process = pool(
        """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker.ready()
while True:
    signal.pause()
""",
        before="""
import threading
kill, kills = os.kill, []

def slow(pid, number):
    if number != signal.SIGKILL:
        return kill(pid, number)
    kills.append(pid)
    if kills.count(pid) == 1:
        threading.Timer(0.3, kill, (pid, number)).start()

os.kill = slow

def ended(index, incarnation, status, pause):
    say(f"ended {index} {status}, {'waits' if len(kills) <= 20 else 'loops'}")
""",
    )
    with process:
        assert said(process, 1) == ["started"]
        process.send_signal(signal.SIGTERM)
        assert said(process, 2) == [f"ended {index} 137, waits" for index in (0, 1)]
        assert process.wait(10) == 137
