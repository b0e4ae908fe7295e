"""Looks for reference cycles that only a garbage collection frees."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tests.support.repository import ROOT


@contextmanager
def no_cycles_of_frames() -> Iterator[None]:
    """No collection runs inside; afterwards, no frame of the broker's code is in a cycle that nothing refers to."""
    # A finalizer may make new garbage of what an earlier test has left.
    for _ in range(3):
        gc.collect()
    # The test runner may keep what an earlier test raised, and let go of it during this one.
    known = {id(found) for found in gc.get_objects() if isinstance(found, FrameType)}
    gc.disable()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        frames = [found.f_code for found in gc.garbage if isinstance(found, FrameType) and id(found) not in known]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    # What the test runner leaves is not looked at.
    functions = [code.co_qualname for code in frames if Path(code.co_filename).is_relative_to(ROOT / "app")]
    assert not functions, functions
