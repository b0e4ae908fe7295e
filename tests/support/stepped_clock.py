"""A wall clock that is set forward or back in a running process; its steady clock is not changed, as in the kernel."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.support.repository import ROOT

_STEPPED = """\
import mmap, struct, time

with open({file!r}, "rb") as clock:
    ahead = mmap.mmap(clock.fileno(), 8, access=mmap.ACCESS_READ)
true_time = time.time
time.time = lambda: true_time() + struct.unpack("d", ahead)[0]
"""


class SteppedClock:
    """The clock of one process.

    Args:
        folder: Where to put what the process reads; it must not exist.

    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._file = folder / "clock"
        self._file.write_bytes(struct.pack("d", 0.0))
        (folder / "sitecustomize.py").write_text(_STEPPED.format(file=str(self._file)))
        self.env = {"PYTHONPATH": f"{folder}:{ROOT}"}
        """Variables for the process."""

    def step(self, ahead: float) -> None:
        """Set the clock to `ahead` seconds before the true time, or behind it if that is negative; at once."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("d", ahead))
