"""Names are looked up once at a time each, and one that hangs costs the others nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from app.process.name_lookups import Loop, NameLookups
from tests.support.waiting import until

HANGING = "hanging.test"
ANSWER = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))]

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names that the resolver of the C library was asked for; `HANGING` hangs in its thread."""
    names: list[str] = []
    released = threading.Event()

    def getaddrinfo(host: str, *_: Any) -> list[Any]:
        names.append(host)
        if host.endswith(HANGING):
            released.wait(15)
        return ANSWER

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield names
    released.set()


async def test_a_name_that_hangs_holds_one_thread(asked: list[str]) -> None:
    """However many callers ask for a name that hangs, and give up, it is asked for once; other names are found."""
    lookups = NameLookups(limit=2)
    for _ in range(5):
        waiting = [asyncio.create_task(lookups.find(HANGING, 443, 0, 0, 0, 0)) for _ in range(20)]
        await until(lambda: HANGING in asked)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await lookups.find("good.test", 443, 0, 0, 0, 0) == ANSWER
    assert asked == [HANGING, *["good.test"] * 5]


async def test_too_many_names_are_an_error_that_clients_know(asked: list[str]) -> None:
    """If as many names hang as there are threads, the next one fails at once as a name that cannot be resolved."""
    lookups = NameLookups(limit=2)
    waiting = [asyncio.create_task(lookups.find(f"{number}.{HANGING}", 443, 0, 0, 0, 0)) for number in range(2)]
    await until(lambda: len(asked) == 2)
    with pytest.raises(socket.gaierror):
        await lookups.find("good.test", 443, 0, 0, 0, 0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def test_the_loop_of_the_broker_finds_names() -> None:
    """A real name is found, and one that does not exist is the error that it always is."""

    async def look() -> None:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        assert {address[4][0] for address in found} <= {"127.0.0.1", "::1"}
        with contextlib.closing(socket.socket()) as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            _, writer = await asyncio.open_connection("localhost", listening.getsockname()[1], family=socket.AF_INET)
            writer.close()
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("a" * 64 + ".test", 80)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(look())
