"""How a connection ends: with an announced last answer, and within a deadline.

uvicorn waits forever for a client that does not read its answers, and closes idle connections without a word.
"""

from __future__ import annotations

import asyncio

from typing_extensions import override
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

WRITE_SECONDS = 10.0
"""Seconds in which a client must read an answer, once the buffers on the way are full or the connection is closed."""


class EndingConnection(HttpToolsProtocol):
    """One connection, with a deadline for writing and an announced end."""

    write_seconds: float = WRITE_SECONDS

    _write_deadline: asyncio.TimerHandle | None = None
    is_ending = False
    """Whether the next answer is the last one."""
    _used_at = 0.0
    """When a request was last answered without the timer of the keep-alive timeout: seconds of the event loop."""
    _running: RequestResponseCycle | None = None
    """The request that is being answered; uvicorn's `cycle` is the one that was read last."""

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._has_read()
        super().connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._must_read()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._has_read()

    @override
    def shutdown(self) -> None:
        if not self.transport.is_closing():  # asyncio's transport for TLS is of no use after a second `close`
            super().shutdown()
        self._read_the_rest()

    @override
    def timeout_keep_alive_handler(self) -> None:
        left = self._used_at + self.timeout_keep_alive - self.loop.time()
        if left > 0 and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
            return
        super().timeout_keep_alive_handler()
        self._read_the_rest()

    def note_use(self) -> None:
        """Begin the keep-alive timeout again, without a new timer, which would cost as much as the rest of an answer.

        The timer that runs looks here when it ends.
        """
        self._used_at = self.loop.time()

    def drain(self) -> None:
        """Answer what was read, and what is read next: with ``Connection: close``, so that the client knows the end.

        A connection that was closed without a word could lose the request that its client was just sending.
        """
        self.is_ending = True
        if self.is_answering():
            self.cycle.keep_alive = False

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._read_the_rest()

    def is_answering(self) -> bool:
        """Whether a request that was read is not answered yet."""
        # uvicorn's type says that it is never None, but it is before the first request.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def close(self) -> None:
        """Close; what was written is still sent, if the client reads it in time."""
        if not self.transport.is_closing():
            self.transport.close()
        self._read_the_rest()

    def _read_the_rest(self) -> None:
        """If the connection is closed, give the client a time to read what is on the way."""
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._must_read()

    def _must_read(self) -> None:
        if self._write_deadline is None:
            self._write_deadline = self.loop.call_later(self.write_seconds, self.transport.abort)

    def _has_read(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None
