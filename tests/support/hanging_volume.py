"""A network volume that does not answer: opening a file on it does not return. A local file system cannot do that."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HANGS = """\
import os, sys, threading

open_ = os.open

def hanging(path, *args, **kwargs):
    if str(path).startswith({volume!r}):
        print("opening", path, file=sys.__stderr__, flush=True)
        threading.Event().wait()
    return open_(path, *args, **kwargs)

os.open = hanging
"""


def in_a_process(volume: Path, folder: Path) -> dict[str, str]:
    """Variables for a Python process in which files below `volume` hang; it says so when it opens one.

    Args:
        volume: The folder that hangs.
        folder: Where to put what the process reads at its start.

    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_HANGS.format(volume=str(volume)))
    return {"PYTHONPATH": str(folder)}


@contextmanager
def in_this_process(volume: Path) -> Iterator[threading.Semaphore]:
    """Let files below `volume` hang until the block ends; the semaphore counts the threads that wait."""
    released, waiting, real = threading.Event(), threading.Semaphore(0), os.open

    def hanging(path: Any, *args: Any, **options: Any) -> int:
        if str(path).startswith(str(volume)):
            waiting.release()
            released.wait(60)
        return real(path, *args, **options)

    os.open = hanging
    try:
        yield waiting
    finally:
        released.set()
        os.open = real
