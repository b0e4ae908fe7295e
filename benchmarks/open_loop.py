"""A load of constant arrival: requests are sent when they are due, however long earlier ones take (open loop).

``wrk`` waits for an answer before it sends the next request, so a server that stalls is asked less, and its stall
counts once (coordinated omission). Here each latency counts from the time when the request was due. ``wrk2`` does the
same, but Debian does not package it; this client is an asyncio protocol on uvloop. Its timer ticks every millisecond,
and all requests that became due meanwhile are sent then: latencies include up to a millisecond of the client's own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import uvloop
from typing_extensions import override

from benchmarks.servers import LOAD_CORE, on_core

_TICK = 0.001
_GRACE = 30.0
_STATUS = b"HTTP/1.1 200"


@dataclass(frozen=True)
class Latencies:
    """The latencies of one run, sorted, in seconds."""

    sorted: list[float]
    rate: float

    def percentile(self, share: float) -> float:
        """The latency that this share of the requests did not exceed, in milliseconds."""
        return 1000 * self.sorted[min(len(self.sorted) - 1, int(share * len(self.sorted)))]


class _Load:
    """Requests that are due, and the connections that are free for them. Each connection has one request at a time."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.latencies: list[float] = []
        self.due: deque[float] = deque()
        self.free: list[_Connection] = []

    def send(self) -> None:
        """Send what is due, as far as connections are free."""
        while self.due and self.free:
            self.free.pop().send(self.due.popleft())


class _Connection(asyncio.Protocol):
    """A kept-alive connection. The time of an answer is that of its status line."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._due = 0.0
        self._end = b""
        self._transport: asyncio.WriteTransport | None = None
        self._loop = asyncio.get_running_loop()

    def send(self, due: float) -> None:
        """Send the request that was due at `due`, by the loop's clock."""
        assert self._transport is not None
        self._due = due
        self._transport.write(self._load.request)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's does not derive from it
        self._load.free.append(self)

    @override
    def data_received(self, data: bytes) -> None:
        seen = self._end + data
        if _STATUS in seen:
            self._load.latencies.append(self._loop.time() - self._due)
            self._load.free.append(self)
            self._load.send()
        # A status line may be split between two reads; one that was counted is longer than what is kept.
        self._end = seen[1 - len(_STATUS) :]

    def close(self) -> None:
        """Close it."""
        assert self._transport is not None
        self._transport.close()


def run_at(
    port: int,
    request: bytes,
    rate: float,
    seconds: float,
    connections: int,
    is_over: Callable[[], bool] = lambda: False,
) -> Latencies:
    """Send a request at a constant rate, from the core of the load, over kept-alive connections.

    Args:
        port: The loopback port of the server.
        request: The whole request.
        rate: Requests per second.
        seconds: How long at most.
        connections: The number of connections.
        is_over: Whether to stop earlier.

    Raises:
        SystemExit: Not all requests were answered with 200 within `_GRACE` seconds after the last one.

    """
    with on_core(LOAD_CORE):
        return uvloop.run(_constant_arrival(port, request, rate, seconds, connections, is_over))


async def _constant_arrival(
    port: int, request: bytes, rate: float, seconds: float, connections: int, is_over: Callable[[], bool]
) -> Latencies:
    loop, load = asyncio.get_running_loop(), _Load(request)
    opened = [
        (await loop.create_connection(lambda: _Connection(load), "127.0.0.1", port))[1] for _ in range(connections)
    ]
    began, total, sent = loop.time(), int(rate * seconds), 0
    while sent < total and not is_over():
        await asyncio.sleep(_TICK)
        due = min(total, int((loop.time() - began) * rate))
        load.due.extend(began + number / rate for number in range(sent, due))
        load.send()
        sent = due
    lasted, end = loop.time() - began, loop.time() + _GRACE
    while len(load.latencies) < sent and loop.time() < end:  # noqa: ASYNC110  # answers set no event
        await asyncio.sleep(0.01)
    for connection in opened:
        connection.close()
    if len(load.latencies) < sent:
        raise SystemExit(f"{sent - len(load.latencies)} of {sent} requests were not answered with 200.")
    return Latencies(sorted(load.latencies), sent / lasted)
