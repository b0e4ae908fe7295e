"""An event loop whose DNS lookups do not wait for each other.

libuv, on which uvloop is built, resolves names in four threads. If a name server does not answer, a lookup blocks its
thread until the C library gives up, after 10 s or more, even if its caller has given up long before. Measured: one IMS
host whose name could not be resolved kept the tenants of all other hosts from connecting. Here each name has at most
one lookup at a time (single flight), so it blocks one thread, however many callers wait for it.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

import uvloop
from typing_extensions import override

from app.domain.dependency_errors import OverloadedError
from app.process.own_threads import OwnThreads, ThreadsBusyError
from app.process.single_flight import SingleFlight

MAX_NAMES = 64
"""The most names that are looked up at once: hosts of IMS and of issuers. Further lookups fail."""

_Question = tuple[Any, ...]


class NameLookups:
    """Looks names up, each in a thread of its own.

    Args:
        limit: The most names that are looked up at once.

    """

    def __init__(self, limit: int = MAX_NAMES) -> None:
        self._threads = OwnThreads("names", threads=limit, waiting=0)
        self._running = SingleFlight[_Question, list[Any]](limit, name="name-lookup")

    async def find(self, *question: Any) -> list[Any]:
        """The result of `socket.getaddrinfo` with these arguments. It has no deadline: callers have one.

        Raises:
            OSError: The name cannot be resolved, or too many names are being looked up.

        """
        try:
            return await self._running.join(question, lambda: self._ask(question))
        except (OverloadedError, ThreadsBusyError):
            raise socket.gaierror(socket.EAI_AGAIN, "too many names are looked up") from None

    async def _ask(self, question: _Question) -> list[Any]:
        try:
            return await self._threads.run(partial(socket.getaddrinfo, *question))
        except UnicodeError:  # a label that is too long, or has a character that no name has
            raise socket.gaierror(socket.EAI_NONAME, "not a name") from None


class Loop(uvloop.Loop):
    """The broker's event loop. Clients that resolve names with `getaddrinfo`, such as HTTP clients, share lookups."""

    def __init__(self) -> None:
        super().__init__()
        self._lookups = NameLookups()

    @override
    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # named by asyncio
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        return await self._lookups.find(host, port, family, type, proto, flags)
