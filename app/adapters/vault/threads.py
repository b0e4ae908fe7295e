"""Threads for blocking calls to Vault. If no one waits for a call any more, its socket is shut down."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from app.adapters.vault.vault_problem import VaultProblem, VaultProblemError
from app.process.own_threads import OwnThreads, ThreadsBusyError, ThreadsClosedError

T = TypeVar("T")

THREADS = 4
WAITING = 2_000
"""The number of calls that may wait for a thread; one more fails at once."""


class Call:
    """One call in a thread. Another thread can abort it: that shuts its socket down.

    Args:
        headers: Further headers of its requests.

    """

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self.headers = headers or {}
        self._socket: socket.socket | None = None
        self._broken = False

    def connected(self, sock: socket.socket) -> None:
        """Note the socket of the call.

        Raises:
            ConnectionAbortedError: The call was already aborted.

        """
        self._socket = sock
        if self._broken:
            raise ConnectionAbortedError

    def abort(self) -> None:
        """Abort the call: its thread gets an error instead of waiting for the peer."""
        self._broken = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not the method of SSLSocket, which would remove the TLS state while the other thread uses it.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Current(threading.local):
    call: Call | None = None


_current = _Current()


def note_connection(sock: socket.socket) -> None:
    """Note the socket of the call that runs in this thread, if any."""
    if _current.call is not None:
        _current.call.connected(sock)


def further_headers() -> Mapping[str, str]:
    """The further headers of the call that runs in this thread, if any."""
    return {} if _current.call is None else _current.call.headers


class BoundedThreads:
    """Runs blocking calls. A call whose waiter gives up is aborted, so that its thread is soon free again.

    Args:
        threads: The number of calls that run at once.
        waiting: The number of calls that may wait.

    """

    def __init__(self, threads: int = THREADS, waiting: int = WAITING) -> None:
        self._threads = OwnThreads("vault", threads=threads, waiting=waiting)
        self._calls: set[Call] = set()

    async def run(self, work: Callable[[], T], headers: Mapping[str, str] | None = None) -> T:
        """Run `work` in a thread, with further `headers` on its requests; the caller sets the deadline.

        Raises:
            VaultProblemError: All threads are busy and too many calls wait, or `close` was called.

        """
        call = Call(headers)
        self._calls.add(call)
        try:
            return await self._threads.run(partial(_run, call, work))
        except ThreadsBusyError:
            raise VaultProblemError(VaultProblem.SATURATED) from None
        except ThreadsClosedError:
            raise VaultProblemError(VaultProblem.CLOSED) from None
        except asyncio.CancelledError:
            call.abort()
            raise
        finally:
            self._calls.discard(call)

    def close(self) -> None:
        """Abort running calls, drop those that wait, and let the threads end."""
        self._threads.close()
        for call in self._calls:
            call.abort()


def _run(call: Call, work: Callable[[], T]) -> T:
    _current.call = call
    try:
        return work()
    finally:
        _current.call = None
