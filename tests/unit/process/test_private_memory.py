"""Neither a core dump nor another process of the same user gets at the broker's memory and environment."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.repository import ROOT

LOOK_INSIDE = """
    import ctypes, os, sys
    from app.process.private_memory import keep_memory_private

    def as_ordinary_user():
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of the user makes a process not dumpable

    def readable(pid):
        found = []
        for name in ("environ", "maps"):
            try:
                open(f"/proc/{pid}/{name}", "rb").close()
            except PermissionError:
                continue
            found.append(name)
        return found

    ended, ready = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        as_ordinary_user()
        if sys.argv[1] == "private":
            keep_memory_private()
        os.listdir("/proc/self/fd")
        os.write(ready[1], b"x")
        os.read(ended[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    looking = os.fork()
    if looking == 0:
        as_ordinary_user()
        print(",".join(readable(child)), flush=True)
        os._exit(0)
    os.waitpid(looking, 0)
    os.write(ended[1], b"x")
    os.waitpid(child, 0)
"""


CRASH = """
    import os, resource, sys
    from app.process.private_memory import keep_memory_private

    highest = resource.getrlimit(resource.RLIMIT_CORE)[1]
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (highest, highest))
        keep_memory_private()
        os.abort()
    print(os.WCOREDUMP(os.waitpid(child, 0)[1]))
"""


def run(script: str, how: str, folder: Path) -> str:
    """What `script` prints in a process of its own, which may leave files in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), how],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these files")
@pytest.mark.parametrize(("how", "expected"), [("open", "environ,maps"), ("private", "")])
def test_another_process_of_the_user_cannot_look_inside(how: str, expected: str, tmp_path: Path) -> None:
    """Memory map and environment can be read by default, and not any more afterwards; it still sees its own files."""
    assert run(LOOK_INSIDE, how, tmp_path) == expected


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    """Even if the user has raised the limit, so that a crash writes one."""
    assert run(CRASH, "private", tmp_path) == "False"


def test_the_limit_for_cores_is_zero() -> None:
    """And it cannot be raised again, except by root."""
    script = (
        "import resource\nfrom app.process.private_memory import keep_memory_private\n"
        "keep_memory_private()\nprint(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(0, 0)"
