"""HTTPS served by the broker itself: key pairs renewed in place, bad ones refused, slow handshakes bounded."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from app import main
from app.adapters.server_certificate import ServerCertificate
from app.api.http_connection import EndingConnection
from app.domain.events import ServerCertificateLoaded, ServerCertificateRefused
from app.process.certificate_pair import CertificatePairError
from tests.support.mounted import MountedFolder
from tests.support.recorded_events import RecordedEvents
from tests.support.tls import Authority, IssuedCertificate
from tests.support.waiting import until_answered

REQUEST = b"GET / HTTP/1.1\r\nHost: broker.test\r\n\r\n"
ENDED = timedelta(days=-1)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the scheme in the scope of the request."""
    await PlainTextResponse(f"by {scope['scheme']}!")(scope, receive, send)


def files(pair: IssuedCertificate) -> dict[str, bytes]:
    """A TLS Secret's content."""
    return {"tls.crt": pair.chain, "tls.key": pair.key}


class TlsServer:
    """A server with a certificate in a mounted Secret.

    Args:
        folder: The mount point of the Secret.
        authority: Signs what is in it.

    """

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.authority = authority
        self.first = authority.issue()
        self.secret = MountedFolder(folder / "tls", files(self.first))
        self.events = RecordedEvents()
        cert, key = self.secret / "tls.crt", self.secret / "tls.key"
        self.certificate = ServerCertificate(cert, key, self.events, time.time, look_seconds=0.05)
        self.server = main.create_server(app)
        self.port = 0
        self.task: asyncio.Task[None]

    async def connect(self, client: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection that has verified the certificate."""
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=client or self.authority.client())

    async def shown(self, client: ssl.SSLContext | None = None) -> bytes:
        """The certificate that a new connection gets, DER."""
        _, writer = await self.connect(client)
        der: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return der

    async def look_twice(self) -> None:
        """What `watch` does within some seconds."""
        await self.certificate.look()
        await self.certificate.look()

    @property
    def told(self) -> list[object]:
        """The kinds of the events so far."""
        return [type(event) for event in self.events.all]


@pytest.fixture(scope="module")
def authority() -> Authority:
    """One authority for all tests."""
    return Authority()


@pytest.fixture
async def server(tmp_path: Path, authority: Authority) -> AsyncIterator[TlsServer]:
    """A server that runs."""
    made = TlsServer(tmp_path, authority)
    made.server = main.create_server(app, tls=await made.certificate.load())
    with main.listening_socket("127.0.0.1", 0) as sock:
        made.port = sock.getsockname()[1]
        made.task = asyncio.create_task(made.server.serve(sockets=[sock]))
        yield made
        made.server.should_exit = True
        await made.task
    await made.certificate.aclose()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The answer to a request."""
    writer.write(REQUEST)
    return await reader.readuntil(b"!")


async def test_https(server: TlsServer) -> None:
    """A client that trusts the authority is answered over TLS, and the app knows the scheme."""
    reader, writer = await server.connect()
    assert (await answer(reader, writer)).endswith(b"by https!")
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
    writer.close()
    [loaded] = server.events.all
    assert isinstance(loaded, ServerCertificateLoaded)
    assert loaded.not_after == server.first.not_after


async def test_tls_1_2_at_least(server: TlsServer) -> None:
    """TLS 1.2 is accepted, and nothing older."""
    client = server.authority.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await server.shown(client) == server.first.der
    old = server.authority.client()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.raises(OSError):
        await server.shown(old)


@pytest.mark.parametrize("kind", ["ec", "rsa"])
async def test_a_renewed_pair_is_taken_and_no_connection_is_dropped(server: TlsServer, kind: str) -> None:
    """After a swap of `..data` new connections get the new certificate, of any kind; open connections stay open."""
    standing = await server.connect()
    assert await answer(*standing)
    renewed = server.authority.issue(kind=kind)
    server.secret.swap(files(renewed))
    await server.certificate.look()
    assert await server.shown() == server.first.der  # Seen once: it could still be half written.
    await server.certificate.look()
    assert await server.shown() == renewed.der
    only_1_2 = server.authority.client()
    only_1_2.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await server.shown(only_1_2) == renewed.der
    assert (await answer(*standing)).endswith(b"by https!")
    standing[1].close()
    assert server.told == [ServerCertificateLoaded, ServerCertificateLoaded]


def bad_renewals(
    first: IssuedCertificate, other: IssuedCertificate, ended: IssuedCertificate
) -> dict[str, dict[str, bytes]]:
    """Renewals that must be refused, by what is wrong with them."""
    secret = load_pem_private_key(other.key, None)
    locked = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    return {
        "belong": {"tls.crt": other.chain, "tls.key": first.key},
        "does not": {"tls.crt": first.chain, "tls.key": other.key},
        "chain": {"tls.crt": b"", "tls.key": other.key},
        "PEM form": {"tls.crt": other.chain[:300], "tls.key": other.key},
        "certificate": {"tls.crt": other.chain[:-100], "tls.key": other.key},
        "private key": {"tls.crt": other.chain, "tls.key": other.key[:100]},
        "encrypted": {"tls.crt": other.chain, "tls.key": locked},
        "ended": files(ended),
        "KiB": {"tls.crt": other.chain + b"\n" * 300_000, "tls.key": other.key},
    }


REASONS = ["belong", "does not", "chain", "PEM form", "certificate", "private key", "encrypted", "ended", "KiB"]


@pytest.mark.parametrize("reason", REASONS)
async def test_a_bad_renewal_is_refused_and_reported_once(server: TlsServer, reason: str) -> None:
    """A pair that does not match, is truncated, encrypted, endless or expired is never used; the old one stays."""
    other, ended = server.authority.issue(), server.authority.issue(life=ENDED)
    server.secret.swap(bad_renewals(server.first, other, ended)[reason])
    for _ in range(4):
        await server.certificate.look()
        assert await server.shown() == server.first.der
    assert server.told == [ServerCertificateLoaded, ServerCertificateRefused]
    [_, refused] = server.events.all
    assert isinstance(refused, ServerCertificateRefused)
    assert reason in refused.reason
    server.secret.swap(files(other))
    await server.look_twice()
    assert await server.shown() == other.der
    assert server.told[2:] == [ServerCertificateLoaded]


async def test_a_reverted_renewal_is_reported(server: TlsServer) -> None:
    """If the good pair is put back, it is reported as loaded, and the next bad one is reported again."""
    bad = bad_renewals(server.first, server.authority.issue(), server.first)["belong"]
    for content in (bad, files(server.first), bad):
        server.secret.swap(content)
        await server.look_twice()
    assert server.told == [ServerCertificateLoaded, ServerCertificateRefused] * 2


async def test_files_that_go_and_come(server: TlsServer) -> None:
    """A missing file is reported once if it stays missing, and not at all if it is back at the next look."""
    (server.secret / "tls.key").rename(server.secret / "away")
    await server.certificate.look()
    (server.secret / "away").rename(server.secret / "tls.key")
    await server.look_twice()
    assert server.told == [ServerCertificateLoaded]
    (server.secret / "tls.key").unlink()
    for _ in range(3):
        await server.look_twice()
    assert server.told == [ServerCertificateLoaded, ServerCertificateRefused]
    assert await server.shown() == server.first.der


async def test_the_watch_loads_a_renewal_within_seconds(server: TlsServer) -> None:
    """The background task loads a renewal by itself, and ends when it is cancelled."""
    task = asyncio.create_task(server.certificate.watch())
    renewed = server.authority.issue()
    server.secret.swap(files(renewed))

    async def is_shown() -> bool:
        return await server.shown() == renewed.der

    await until_answered(is_shown, 10, 0.05)
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", REQUEST])
async def test_a_slow_handshake_times_out(
    tmp_path: Path, authority: Authority, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that sends no handshake, half of one, or plain HTTP is closed after the timeout."""
    monkeypatch.setattr(main, "HANDSHAKE_SECONDS", 0.3)
    setup = TlsServer(tmp_path, authority)
    server = main.create_server(app, tls=await setup.certificate.load())
    with main.listening_socket("127.0.0.1", 0) as sock:
        task = asyncio.create_task(server.serve(sockets=[sock]))
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        writer.write(begun)
        async with asyncio.timeout(5):
            assert b"HTTP/" not in await reader.read()
        writer.close()
        server.should_exit = True
        await task
    await setup.certificate.aclose()


@pytest.mark.parametrize("is_up", [False, True], ids=["no-handshake", "no-close-notify"])
async def test_a_silent_client_does_not_delay_the_shutdown(server: TlsServer, is_up: bool) -> None:
    """A client that never finishes its handshake or never closes TLS delays the shutdown by at most some seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    if is_up:
        await silent_after_the_handshake(reader, writer, server.authority.client())
    server.server.should_exit = True
    began = time.monotonic()
    while server.server.server_state.connections or (server.server.started and server.server.servers[0].is_serving()):
        assert time.monotonic() - began < main.TLS_CLOSE_SECONDS + 3
        await asyncio.sleep(0.05)
    writer.close()


async def test_a_connection_may_be_closed_twice(server: TlsServer) -> None:
    """A connection that is closing is left to end when the server shuts down: it must not be closed twice."""
    _, writer = await server.connect()
    await until_answered(lambda: _has_connection(server), 5, every=0.01)
    [connection] = server.server.server_state.connections
    assert isinstance(connection, EndingConnection)
    connection.close()
    connection.close()
    connection.shutdown()
    assert connection.transport.get_write_buffer_size() >= 0
    writer.close()


async def _has_connection(server: TlsServer) -> bool:
    return bool(server.server.server_state.connections)


async def silent_after_the_handshake(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: ssl.SSLContext
) -> None:
    """Do a handshake by hand; nothing that the server sends afterwards is ever answered."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = client.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    while True:
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            incoming.write(await reader.read(65536))
            continue
        writer.write(outgoing.read())
        connection.write(REQUEST)
        writer.write(outgoing.read())
        await reader.read(65536)
        return


@pytest.mark.parametrize("reason", [reason for reason in REASONS if reason != "ended"])
async def test_a_bad_pair_is_found_at_startup(tmp_path: Path, authority: Authority, reason: str) -> None:
    """A pair that a renewal would refuse stops the startup; the error names the file and quotes nothing of it."""
    first, other = authority.issue(), authority.issue()
    secret = MountedFolder(tmp_path / "tls", bad_renewals(first, other, first)[reason])
    certificate = ServerCertificate(secret / "tls.crt", secret / "tls.key", RecordedEvents(), time.time)
    with pytest.raises(CertificatePairError, match=reason) as refused:
        await certificate.load()
    assert refused.value.part == ("key" if reason in {"belong", "does not", "private key", "encrypted"} else "cert")
    await certificate.aclose()
