"""The key ring in force, followed while its file is changed: the last good one, whatever the file has now.

A change is found by the content's hash, so that a Secret's ``..data`` swap and a rename are the same. It counts only
after it was seen twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from pathlib import Path

from app.domain.events import KeyRingLoaded, KeyRingRefused
from app.ports import Clock, EventSink
from app.process.own_threads import OwnThreads, ThreadsBusyError
from app.process.regular_file import FileError, read_bytes
from app.process.renewed_file import Look, RenewedFile
from app.shared_cache.key_ring import MAX_KEY_RING_BYTES, KeyRing, KeyRingError, UnreadableKeyRingError

_READ_DEADLINE = 30.0
_WAITING = 4


class KeyRingInForce:
    """A key ring, followed while it changes. Nothing is in force before `load`.

    Args:
        file: The key ring.
        sink: Gets an event of every ring that comes into force, and one of each that is refused.
        clock: Unix time in seconds.
        look_seconds: Between two looks at the file; a change is in force within twice that.

    """

    def __init__(self, file: Path, sink: EventSink, clock: Clock, look_seconds: float = 2.0) -> None:
        self._path = file
        self._sink = sink
        self._clock = clock
        self._look_seconds = look_seconds
        self._ring: KeyRing | None = None
        self._another_seals = asyncio.Event()
        # By digest, or by the reason why the file cannot be read.
        self._file = RenewedFile[bytes | str](looks=2)
        self._threads = OwnThreads("key-ring", threads=1, waiting=_WAITING, deadline=_READ_DEADLINE)

    def current(self) -> KeyRing:
        """The ring in force. It is replaced as a whole."""
        assert self._ring is not None  # noqa: S101  # `load` comes first
        return self._ring

    async def load(self) -> None:
        """Load the ring for the first time.

        Raises:
            KeyRingError: The file cannot be read, or is not a valid key ring.

        """
        read = await self._read()
        self._adopt(_parsed(read), _identity(read))

    async def watch(self) -> None:
        """Look for changes forever. A bad ring is refused and reported once; the last good one stays."""
        while True:
            await asyncio.sleep(self._look_seconds)
            await self.look()

    async def look(self) -> None:
        """Look once, and take or refuse what the last look saw too."""
        read = await self._read()
        seen = _identity(read)
        match self._file.look(seen):
            case Look.RESTORED:
                self._report_in_force()
            case Look.NEW:
                try:
                    self._adopt(_parsed(read), seen)
                except KeyRingError as error:
                    self._file.refuse(seen)
                    self._sink.emit(KeyRingRefused(self._clock(), str(error)))
            case Look.UNCHANGED | Look.CHANGING | Look.REFUSED:
                pass

    async def another_seals(self) -> None:
        """Wait until a change of the ring lets another key seal."""
        await self._another_seals.wait()
        self._another_seals.clear()

    async def aclose(self) -> None:
        """Let the reading thread end; a read that hangs is not waited for."""
        self._threads.close()

    def _adopt(self, ring: KeyRing, seen: bytes | str) -> None:
        before, self._ring = self._ring, ring
        self._file.accept(seen)
        self._report_in_force()
        if before is not None and before.sealing_id != ring.sealing_id:
            self._another_seals.set()

    def _report_in_force(self) -> None:
        ring = self.current()
        self._sink.emit(KeyRingLoaded(self._clock(), ring.sealing_id, ring.ids))

    async def _read(self) -> bytes | KeyRingError:
        """What the file holds, or why it cannot be read."""
        try:
            return await self._threads.run(partial(read_bytes, self._path, MAX_KEY_RING_BYTES))
        except FileError as error:
            return UnreadableKeyRingError("file", error.reason)
        except (TimeoutError, ThreadsBusyError):
            return UnreadableKeyRingError("file", "could not be read in time")


def _parsed(read: bytes | KeyRingError) -> KeyRing:
    if isinstance(read, KeyRingError):
        raise read
    return KeyRing.parse(read)


def _identity(read: bytes | KeyRingError) -> bytes | str:
    return hashlib.sha256(read).digest() if isinstance(read, bytes) else str(read)
