"""Threads for calls to Vault, which block. When no one waits for a call any more, its socket is shut down."""

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
"""Calls that may wait for a thread; one more fails at once."""


class Call:
    """One call in a thread, which can be broken off from outside by shutting its socket down.

    Args:
        headers: Further headers of its requests.

    """

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self.headers = headers or {}
        self._socket: socket.socket | None = None
        self._broken = False

    def connected(self, sock: socket.socket) -> None:
        """Take note of the call's socket.

        Raises:
            ConnectionAbortedError: The call was broken off already.

        """
        self._socket = sock
        if self._broken:
            raise ConnectionAbortedError

    def break_off(self) -> None:
        """Make a thread that waits for its peer go on, with an error."""
        self._broken = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # The plain method: SSLSocket's own would take the TLS state away under the other thread.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Current(threading.local):
    call: Call | None = None


_current = _Current()


def note_connection(sock: socket.socket) -> None:
    """Tell the call that runs in this thread, if any, which socket it uses."""
    if _current.call is not None:
        _current.call.connected(sock)


def further_headers() -> Mapping[str, str]:
    """The further headers of the call that runs in this thread, if any."""
    return {} if _current.call is None else _current.call.headers


class BoundedThreads:
    """Runs blocking calls; a call whose waiter gives up is broken off, so its thread is soon free again.

    Args:
        threads: How many calls run at once.
        waiting: How many more may wait.

    """

    def __init__(self, threads: int = THREADS, waiting: int = WAITING) -> None:
        self._threads = OwnThreads("vault", threads=threads, waiting=waiting)
        self._calls: set[Call] = set()

    async def run(self, work: Callable[[], T], headers: Mapping[str, str] | None = None) -> T:
        """Run `work` in a thread, with further `headers` on its requests; the caller sets the deadline.

        Raises:
            VaultProblemError: All threads are busy and enough calls wait, or `close` was called.

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
            call.break_off()
            raise
        finally:
            self._calls.discard(call)

    def close(self) -> None:
        """Break off running calls, drop those that wait, and let the threads end."""
        self._threads.close()
        for call in self._calls:
            call.break_off()


def _run(call: Call, work: Callable[[], T]) -> T:
    _current.call = call
    try:
        return work()
    finally:
        _current.call = None
