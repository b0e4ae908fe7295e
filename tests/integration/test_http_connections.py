"""Connections whose clients do not read, and connections at the end of the server."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.support.echo_server import HOST, echo_server
from tests.support.waiting import until
from tests.support.wire import connected

GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
LAST = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"

MORE_THAN_ALL_BUFFERS = "x" * 16_000_000
MORE_THAN_THE_KERNEL_TAKES = "x" * 40_000
"""And less than what makes asyncio pause the writing."""


def deaf_client(port: int, data: bytes) -> socket.socket:
    """A client that sends `data` and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(data)
    return client


@pytest.mark.parametrize(
    ("data", "answer"),
    [(GET * 60, MORE_THAN_ALL_BUFFERS), (LAST, MORE_THAN_ALL_BUFFERS), (LAST, MORE_THAN_THE_KERNEL_TAKES)],
    ids=["pipelined", "last", "little"],
)
async def test_a_client_that_does_not_read_is_cut_off(data: bytes, answer: str) -> None:
    """An answer that the buffers cannot hold has a deadline, also after the connection was closed."""
    async with echo_server(write_seconds=0.3, small_buffers=True) as server:
        server.answer = answer
        with deaf_client(server.port, data):
            await until(lambda: bool(server.bodies))
            await until(lambda: server.connections == 0)


async def test_a_slow_reader_gets_its_whole_answer() -> None:
    """The deadline is for bytes that are not taken: a client that begins to read in time loses nothing."""
    async with echo_server(write_seconds=5.0) as server:
        server.answer = MORE_THAN_ALL_BUFFERS
        async with connected(server.port) as connection:
            await connection.send(GET)
            await until(lambda: bool(server.bodies))
            await asyncio.sleep(0.2)
            assert len((await connection.reply()).body) == len(MORE_THAN_ALL_BUFFERS)
            server.answer = "short"
            assert (await connection.request(GET)).body == b"short"


async def test_a_client_that_does_not_read_does_not_hold_up_the_end() -> None:
    """The server ends once the deadline of writing has passed."""
    async with echo_server(write_seconds=0.5) as server:
        server.answer = MORE_THAN_ALL_BUFFERS
        with deaf_client(server.port, GET * 10):
            await until(lambda: bool(server.bodies))
            await server.end()
            await until(lambda: server.connections == 0, 8.0)


async def test_the_next_answer_on_an_idle_connection_announces_the_end() -> None:
    """At the end, a request on a connection that was idle is answered, with ``Connection: close``."""
    async with echo_server(linger=10.0) as server, connected(server.port) as used, connected(server.port) as fresh:
        assert (await used.request(GET)).header("connection") is None
        await until(lambda: server.connections == 2)
        await server.end()
        for connection in (used, fresh):
            reply = await connection.request(GET)
            assert (reply.status, reply.body, reply.header("connection")) == (200, b"seen", "close")
        await until(lambda: server.connections == 0)


async def test_a_request_in_progress_is_answered_at_the_end() -> None:
    """Its answer says that the connection ends, and so do those to requests that wait behind it on the connection."""
    async with echo_server(linger=10.0) as server, connected(server.port) as connection:
        server.answers.clear()
        await connection.send(GET * 3)
        await until(lambda: bool(server.seen))
        await server.end()
        server.answers.set()
        assert [(await connection.reply()).header("connection") for _ in range(3)] == [None, None, "close"]


async def test_idle_connections_are_closed_after_a_while() -> None:
    """A connection on which nothing is sent does not hold up the end for longer than it has to."""
    async with echo_server(linger=0.3) as server, connected(server.port) as connection:
        assert (await connection.request(GET)).status == 200
        await server.end()
        await until(lambda: server.connections == 0)
