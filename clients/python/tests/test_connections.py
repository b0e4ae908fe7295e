"""`Tokens` over TLS, in a forked process, and with brokers that answer slowly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ims_token_broker_client import Broker, BrokerUnavailableError
from ims_token_broker_client.fake_broker import FakeBroker
from tests.support.egress_proxy import tls_in_front
from tests.support.ims_server import AcceptedConnection, http_answer, run_raw
from tests.support.repository import ROOT
from tests.support.tls import server_tls

ORG = "0123456789ABCDEF01234567@AdobeOrg"

FORKS = """
import os, socket, sys, threading
from ims_token_broker_client import Broker

silent = socket.create_server(("127.0.0.1", 0))
urls = [f"http://127.0.0.1:{silent.getsockname()[1]}", sys.argv[1]]
tokens = Broker(urls, api_key=sys.argv[2], timeout=2.0).tokens(sys.argv[3])
threading.Thread(target=tokens.get).start()
held = silent.accept()
child = os.fork()
sys.stdout.write(tokens.get().value + "\\n")
sys.stdout.flush()
if child:
    os.waitpid(child, 0)
"""
"""Forks while a request to the first of two brokers waits for its answer; both processes then print the token."""


@contextlib.asynccontextmanager
async def over_tls(fake: FakeBroker, folder: Path, name: str) -> AsyncIterator[str]:
    """URL of the fake broker behind TLS with a certificate for `name`; ``ca.pem`` in `folder` is its authority."""
    async with tls_in_front(urlsplit(fake.url).port or 0, server_tls(folder, name)) as port:
        yield f"https://127.0.0.1:{port}"


async def test_a_broker_with_an_own_authority_is_trusted(fake_broker: FakeBroker, tmp_path: Path) -> None:
    """With `ca_file` a token comes over TLS from a broker whose certificate only that authority vouches for."""
    async with over_tls(fake_broker, tmp_path / "tls", "127.0.0.1") as url:
        broker = Broker(url, api_key=fake_broker.api_key, timeout=5.0, ca_file=tmp_path / "tls" / "ca.pem")
        token = await broker.tokens(ORG, sandbox_name="").get_async()

    assert token.value == fake_broker.token(ORG)


@pytest.mark.parametrize(("name", "trusted"), [("127.0.0.1", False), ("other.example", True)])
async def test_a_certificate_that_does_not_fit_gets_no_key(
    fake_broker: FakeBroker, tmp_path: Path, name: str, trusted: bool
) -> None:
    """A certificate of an unknown authority, or for another host, is named, and the API key is not sent."""
    async with over_tls(fake_broker, tmp_path / "tls", name) as url:
        ca_file = tmp_path / "tls" / "ca.pem" if trusted else None
        broker = Broker(url, api_key=fake_broker.api_key, timeout=0.5, ca_file=ca_file)
        with pytest.raises(BrokerUnavailableError, match="has a certificate that is not trusted for its name"):
            await broker.tokens(ORG, sandbox_name="").get_async()

    assert fake_broker.requests == 0


def test_a_forked_process_gets_a_token(fake_broker: FakeBroker) -> None:
    """A process that forks while it waits for a token gets it, and so does the new process, which has no threads."""
    source = str(ROOT / "clients" / "python" / "src")
    arguments = [sys.executable, "-c", FORKS, fake_broker.url, fake_broker.api_key, ORG]
    ended = subprocess.run(
        arguments, env={"PYTHONPATH": source}, capture_output=True, text=True, timeout=30, check=False
    )

    assert ended.stdout.split() == [fake_broker.token(ORG)] * 2


@contextlib.contextmanager
def host_that_is_gone() -> Iterator[str]:
    """The URL of a port that neither accepts nor refuses a connection, because its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        while True:
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(server.getsockname())
            except TimeoutError:
                break
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.skipif(sys.platform != "linux", reason="another system refuses what does not fit into the queue")
async def test_a_host_that_is_gone_leaves_time_for_the_next_broker(
    fake_broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker to which no connection can be made costs less than its share of the time-out."""
    monkeypatch.setattr("ims_token_broker_client.endpoint.CONNECT_SECONDS", 0.2)
    with host_that_is_gone() as gone:
        begin = time.monotonic()
        broker = Broker([gone, fake_broker.url], api_key=fake_broker.api_key, timeout=20.0)
        token = await broker.tokens(ORG, sandbox_name="").get_async()

    assert token.value == fake_broker.token(ORG)
    assert time.monotonic() - begin < 8.0  # its share is 10 s


async def test_an_answer_in_small_pieces_is_read(fake_broker: FakeBroker) -> None:
    """A whole answer that comes byte by byte, but in time, is a token."""
    document = fake_broker.answer("GET", f"/token?org={ORG}", f"Bearer {fake_broker.api_key}", b"")[2]
    answer = http_answer(json.dumps(document).encode())

    async def drip(line: AcceptedConnection) -> None:
        await line.request()
        for byte in answer:
            await line.send(bytes([byte]))

    async with run_raw(drip) as server:
        token = await Broker(server.base_url, api_key="key", timeout=5.0).tokens(ORG, sandbox_name="").get_async()

    assert token.value == fake_broker.token(ORG)


async def test_an_answer_that_never_ends_is_given_up_in_time() -> None:
    """A broker that keeps sending single bytes costs no more than the time-out, which is for the whole answer."""

    async def drip(line: AcceptedConnection) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        with contextlib.suppress(ConnectionError):
            while True:
                await line.send(b"x")
                await asyncio.sleep(0.05)

    async with run_raw(drip) as server:
        begin = time.monotonic()
        with pytest.raises(BrokerUnavailableError, match="did not answer in time"):
            await Broker(server.base_url, api_key="key", timeout=0.5).tokens(ORG, sandbox_name="").get_async()
        assert time.monotonic() - begin < 3.0
