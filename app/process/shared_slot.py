"""Shared memory after a fork: one process writes a value and the others read it, without a lock."""

from __future__ import annotations

import mmap
import struct
import zlib

_HEADER = struct.Struct("<QII")
"""The number of the write, the length in bytes, and the CRC-32."""

_TRIES = 100
"""Reads before giving up. Each is overtaken only by two writes, so the second one almost always succeeds."""


class SharedSlot:
    """The latest value that one process has written. Create it before the fork.

    An incomplete value is never read, even if its writer was killed: the number and the CRC detect it.

    Args:
        size: The most bytes of a value. Unused bytes take no memory.

    """

    def __init__(self, size: int) -> None:
        # Two halves: while one is written, the other one has the previous value.
        self._half = _HEADER.size + size
        self._memory = mmap.mmap(-1, 2 * self._half)
        self._size = size
        self._number = 0

    def write(self, value: bytes) -> None:
        """Replace the value.

        Raises:
            ValueError: It is too large.

        """
        if len(value) > self._size:
            raise ValueError("The value is larger than the slot.")
        self._number = max(self._number, *(self._header(half)[0] for half in (0, 1))) + 1
        start = self._number % 2 * self._half
        self._memory[start + _HEADER.size : start + _HEADER.size + len(value)] = value
        self._memory[start : start + _HEADER.size] = _HEADER.pack(self._number, len(value), zlib.crc32(value))

    def read(self) -> bytes:
        """The value; empty if there is none. Never sleeps: a scrape of the metrics reads in the event loop."""
        for _ in range(_TRIES):
            newest = max((0, 1), key=lambda half: self._header(half)[0])
            for half in (newest, 1 - newest):
                number, length, checksum = self._header(half)
                start = half * self._half + _HEADER.size
                value = self._memory[start : start + length]
                if self._header(half)[0] == number and zlib.crc32(value) == checksum:
                    return value
        return b""

    def _header(self, half: int) -> tuple[int, int, int]:
        start = half * self._half
        number, length, checksum = _HEADER.unpack(self._memory[start : start + _HEADER.size])
        return number, min(length, self._size), checksum
