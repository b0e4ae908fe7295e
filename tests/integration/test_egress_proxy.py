"""Exchanges and issuers' keys through a real egress proxy, and each way in which a proxy can fail."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from app.adapters.ims import HttpTokenExchanger, ims_client
from app.adapters.jwt_verifier.issuer_error import IssuerError
from app.adapters.jwt_verifier.issuer_url import IssuerUrl
from app.adapters.jwt_verifier.key_source import FETCH_DEADLINE
from app.domain.dependency_errors import ImsUnavailableError
from app.domain.tenant_errors import BadUpstreamResponseError, CredentialRejectedError
from app.egress import EgressProxy
from app.process.ca_bundle import client_context
from app.process.own_threads import OwnThreads
from app.settings.no_proxy import parse_no_proxy
from tests.support import grants
from tests.support.children import free_port
from tests.support.egress_proxy import ProxyServer, running_proxy, tls_in_front
from tests.support.exchanging import exchanging
from tests.support.ims_server import AcceptedConnection, RunningSandbox, answering, http_answer, run_raw, run_sandbox
from tests.support.recorded_events import RecordedEvents
from tests.support.sandbox_clients import oauth_client
from tests.support.tls import Authority, server_tls

PASSWORD = "proxy-canary-4b1d"  # a canary


@dataclass(frozen=True)
class SecureIms:
    """A sandbox behind TLS, which only a client that trusts `ca` can use."""

    base_url: str
    ca: Path
    sandbox: RunningSandbox

    @property
    def authority(self) -> str:
        """Host and port, as in CONNECT."""
        return urlsplit(self.base_url).netloc


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[ProxyServer]:
    """A running proxy that asks for no login."""
    with running_proxy(tmp_path / "proxy") as server:
        yield server


@pytest.fixture
async def ims(tmp_path: Path) -> AsyncIterator[SecureIms]:
    """An IMS at the name ``localhost``, which has a certificate for that name only."""
    tls = server_tls(tmp_path / "ims", "localhost")
    async with (
        run_sandbox([oauth_client()]) as sandbox,
        tls_in_front(urlsplit(sandbox.base_url).port or 0, tls) as port,
    ):
        yield SecureIms(f"https://localhost:{port}", tmp_path / "ims" / "ca.pem", sandbox)


@contextlib.asynccontextmanager
async def exchanger(
    ims: SecureIms, url: str, *, password: Path | None = None, no_proxy: str = ""
) -> AsyncIterator[HttpTokenExchanger]:
    """An exchanger that trusts this IMS and uses the proxy at `url`."""
    proxy = EgressProxy(url, None if password is None else "broker", password, parse_no_proxy(no_proxy))
    assert PASSWORD not in repr(proxy)
    async with ims_client(client_context(ims.ca), proxy=proxy) as client:
        yield HttpTokenExchanger(client, time.time, RecordedEvents(), deadline=8.0, has_proxy=True)


async def failure(ims: SecureIms, url: str, password: Path | None = None) -> str:
    """The detail of the failed exchange, which never has the password."""
    async with exchanger(ims, url, password=password) as broker:
        with pytest.raises(ImsUnavailableError) as caught:
            await broker.exchange(grants.oauth_exchange(ims.base_url))
    assert PASSWORD not in f"{caught.value!r} {caught.value.detail} {caught.value.__cause__!r}"
    return caught.value.detail


def password_file(folder: Path, text: str = PASSWORD) -> Path:
    """A file with a password and, as `echo` leaves it, a line end."""
    path = folder / "password"
    path.write_text(f"{text}\n")
    return path


async def test_a_token_comes_through_the_proxy(proxy: ProxyServer, ims: SecureIms) -> None:
    """The exchange goes through a tunnel, TLS is verified from end to end, and the proxy sees CONNECT to IMS alone."""
    async with exchanger(ims, proxy.url) as broker:
        issued = await broker.exchange(grants.oauth_exchange(ims.base_url))

    assert ims.sandbox.sandbox.state.mint.find(issued.value) is not None
    assert proxy.requests == [f"CONNECT {ims.authority} HTTP/1.1"]


async def test_a_tunnel_is_used_again(proxy: ProxyServer, ims: SecureIms) -> None:
    """Several exchanges, one after another, cost one tunnel."""
    async with exchanger(ims, proxy.url) as broker:
        for _ in range(3):
            await broker.exchange(grants.oauth_exchange(ims.base_url))

    assert len(proxy.requests) == 1


async def test_the_proxy_may_itself_use_tls(
    proxy: ProxyServer, ims: SecureIms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``https://`` the login is encrypted on its way to the proxy, too: TLS within TLS."""
    tls = server_tls(tmp_path / "front", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "front" / "ca.pem"))
    async with (
        tls_in_front(proxy.port, tls) as port,
        exchanger(ims, f"https://127.0.0.1:{port}") as broker,
    ):
        await broker.exchange(grants.oauth_exchange(ims.base_url))

    assert len(proxy.requests) == 1


async def test_a_login_comes_from_the_file_and_may_change(proxy: ProxyServer, ims: SecureIms, tmp_path: Path) -> None:
    """The password is read from its file, and again once the proxy refuses it: a rotation costs no failed exchange."""
    file = password_file(tmp_path)
    proxy.start(login=("broker", PASSWORD))
    async with exchanger(ims, proxy.url, password=file) as broker:
        await broker.exchange(grants.oauth_exchange(ims.base_url))
        proxy.start(login=("broker", f"{PASSWORD}-2"))
        password_file(tmp_path, f"{PASSWORD}-2")
        await broker.exchange(grants.oauth_exchange(ims.base_url))


async def test_hosts_of_no_proxy_are_reached_directly(proxy: ProxyServer, ims: SecureIms) -> None:
    """A host of ``BROKER_NO_PROXY`` is never asked of the proxy."""
    async with exchanger(ims, proxy.url, no_proxy="localhost") as broker:
        await broker.exchange(grants.oauth_exchange(ims.base_url))

    assert proxy.requests == []


async def test_plain_http_never_goes_through_the_proxy(proxy: ProxyServer, ims: SecureIms) -> None:
    """A proxy would see the secret in plain HTTP, which is for loopback only."""
    async with exchanger(ims, proxy.url) as broker:
        await broker.exchange(grants.oauth_exchange(ims.sandbox.base_url))

    assert proxy.requests == []


# How a proxy fails --------------------------------------------------------------------------------------------------


async def test_a_wrong_password_is_reported(proxy: ProxyServer, ims: SecureIms, tmp_path: Path) -> None:
    """A login that is missing (407) or wrong (401 from this proxy): the sentence names both settings of the login."""
    proxy.start(login=("broker", "another"))

    for status, file in (("407", None), ("401", password_file(tmp_path))):
        detail = await failure(ims, proxy.url, file)
        assert f"asks for a login ({status}): check BROKER_PROXY_USERNAME and BROKER_PROXY_PASSWORD_FILE" in detail


async def test_an_unusable_password_file_is_reported(proxy: ProxyServer, ims: SecureIms, tmp_path: Path) -> None:
    """A password file that is missing, or has only a line end, is named by its setting."""
    assert "BROKER_PROXY_PASSWORD_FILE" in await failure(ims, proxy.url, tmp_path / "missing")
    assert "BROKER_PROXY_PASSWORD_FILE: is empty" in await failure(ims, proxy.url, password_file(tmp_path, ""))
    assert proxy.requests == []


async def test_a_refused_tunnel_is_reported(proxy: ProxyServer, ims: SecureIms) -> None:
    """403: the sentence says what to allow at the proxy."""
    proxy.start(ports=[1])

    assert "refuses to connect to the host (403): allow CONNECT" in await failure(ims, proxy.url)


async def test_an_absent_proxy_is_reported(ims: SecureIms) -> None:
    """A port on which nothing listens is the proxy's fault, not that of IMS."""
    detail = await failure(ims, f"http://127.0.0.1:{free_port()}")

    assert "The proxy of BROKER_PROXY_URL cannot be used: the connection was refused." in detail


async def test_a_proxy_that_hangs_is_reported(ims: SecureIms) -> None:
    """A proxy that takes the connection and never answers costs the deadline, and is named."""
    async with run_raw(lambda line: line.gone()) as server:
        assert "The proxy of BROKER_PROXY_URL did not answer in time; it cannot" in await failure(ims, server.base_url)


async def test_what_is_not_a_proxy_is_reported(ims: SecureIms) -> None:
    """A port that speaks something else than HTTP is named at once, even if it keeps the connection open."""

    async def ssh(line: AcceptedConnection) -> None:
        await line.send(b"SSH-2.0-OpenSSH_9.2\r\n")
        await line.gone()

    for script in (ssh, answering(b"SSH-2.0-OpenSSH_9.2\r\n")):
        async with run_raw(script) as server:
            assert "does not answer as an HTTP proxy: check its port" in await failure(ims, server.base_url)


async def test_https_to_a_proxy_without_tls_is_reported(ims: SecureIms) -> None:
    """``https://`` in the URL of a proxy that speaks plain HTTP, and waits or answers: the sentence names TLS."""

    async def refuse(line: AcceptedConnection) -> None:
        await line.reader.read(1000)
        await line.send(http_answer(b"", status="400 Bad Request"))

    async with run_raw(lambda line: line.gone()) as server:
        waits = await failure(ims, server.base_url.replace("http:", "https:"))
    async with run_raw(refuse) as server:
        answers = await failure(ims, server.base_url.replace("http:", "https:"))

    assert "did not answer the TLS handshake in time: if it serves plain HTTP, its URL must begin with http://" in waits
    assert "The proxy of BROKER_PROXY_URL cannot be used: that port does not serve TLS." in answers


async def test_http_to_a_proxy_with_tls_is_reported(proxy: ProxyServer, ims: SecureIms, tmp_path: Path) -> None:
    """``http://`` in the URL of a proxy that asks for TLS: the sentence says that it may not be an HTTP proxy."""
    async with tls_in_front(proxy.port, server_tls(tmp_path / "front", "127.0.0.1")) as port:
        detail = await failure(ims, f"http://127.0.0.1:{port}")

    assert "HTTP proxy" in detail


async def test_a_proxy_with_an_unknown_certificate_is_reported(
    proxy: ProxyServer, ims: SecureIms, tmp_path: Path
) -> None:
    """The certificate of a proxy with ``https://`` is verified, and the sentence says whose it is."""
    async with tls_in_front(proxy.port, server_tls(tmp_path / "front", "127.0.0.1")) as port:
        detail = await failure(ims, f"https://127.0.0.1:{port}")

    assert "The proxy of BROKER_PROXY_URL cannot be used: its certificate is not trusted." in detail
    assert proxy.requests == []


async def test_a_target_behind_the_proxy_that_is_away_is_reported(proxy: ProxyServer, ims: SecureIms) -> None:
    """The proxy cannot reach IMS: the sentence says which of the two has the problem."""
    gone = SecureIms(f"https://localhost:{free_port()}", ims.ca, ims.sandbox)

    assert "The proxy of BROKER_PROXY_URL cannot reach the host" in await failure(gone, proxy.url)


async def test_the_certificate_of_the_target_is_verified_in_the_tunnel(
    proxy: ProxyServer, ims: SecureIms, tmp_path: Path
) -> None:
    """A certificate for another name is refused, and that is not reported as the proxy's fault."""
    tls = server_tls(tmp_path / "other", "other.example")
    async with tls_in_front(urlsplit(ims.sandbox.base_url).port or 0, tls) as port:
        other = SecureIms(f"https://localhost:{port}", tmp_path / "other" / "ca.pem", ims.sandbox)
        detail = await failure(other, proxy.url)

    assert "its certificate is for another host. Another server answers for this name" in detail
    assert "BROKER_IMS_CACERT" not in detail
    assert "BROKER_PROXY_URL" not in detail


async def test_failed_handshakes_in_tunnels_do_not_fill_the_pool(proxy: ProxyServer, ims: SecureIms) -> None:
    """After more failed handshakes with IMS than there may be connections, the next exchange still gets one."""
    way = EgressProxy(proxy.url, no_proxy=parse_no_proxy(""))
    async with exchanging(max_connections=2, proxy=way) as broker:
        for _ in range(4):
            with pytest.raises(ImsUnavailableError, match="BROKER_IMS_CACERT"):
                await broker.exchanger.exchange(grants.oauth_exchange(ims.base_url))


async def test_each_new_connection_reads_the_password(proxy: ProxyServer, ims: SecureIms, tmp_path: Path) -> None:
    """A password that is changed in the file before the proxy changes is used at once, by new connections only."""
    file = password_file(tmp_path)
    proxy.start(login=("broker", PASSWORD))
    way = EgressProxy(proxy.url, "broker", file, parse_no_proxy(""))
    async with exchanging(verify=client_context(ims.ca), proxy=way) as broker:
        await broker.exchanger.exchange(grants.oauth_exchange(ims.base_url))
        password_file(tmp_path, "not-yet-known-to-the-proxy")
        await broker.exchanger.exchange(grants.oauth_exchange(ims.base_url))
        proxy.start(login=("broker", PASSWORD))  # ends the open tunnel
        with pytest.raises(ImsUnavailableError, match="asks for a login"):
            await broker.exchanger.exchange(grants.oauth_exchange(ims.base_url))


async def test_a_proxy_that_answers_byte_by_byte_is_named_in_time(ims: SecureIms) -> None:
    """A proxy that answers CONNECT byte by byte is named before the deadline of a fetch of keys is over."""

    async def drip(line: AcceptedConnection) -> None:
        await line.request()
        with contextlib.suppress(ConnectionError):
            for byte in b"HTTP/1.1 200 " + bytes(100):
                await line.send(bytes([byte]))
                await asyncio.sleep(0.2)

    async with run_raw(drip) as server:
        begin = time.monotonic()
        detail = await failure(ims, server.base_url)
        assert time.monotonic() - begin < FETCH_DEADLINE
    assert "The proxy of BROKER_PROXY_URL did not answer in time" in detail


async def test_a_proxy_whose_name_is_not_found_is_reported(ims: SecureIms) -> None:
    """An unknown name of the proxy is not reported as that of IMS."""
    detail = await failure(ims, "http://proxy.invalid:3128")

    assert "The proxy of BROKER_PROXY_URL cannot be used: the name of its host was not found." in detail


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, b"HTTP/1.1 200 OK\r\n\r\nunexpected", b""],
    ids=["endless head", "bytes after the head", "nothing"],
)
async def test_an_odd_answer_to_connect_is_the_proxys_fault(ims: SecureIms, answer: bytes) -> None:
    """Whatever the proxy answers except a plain success is not reported as an answer of IMS."""

    async def script(line: AcceptedConnection) -> None:
        await line.request()
        await line.send(answer)

    async with run_raw(script) as server:
        assert "The proxy of BROKER_PROXY_URL" in await failure(ims, server.base_url)


# Issuers' keys ------------------------------------------------------------------------------------------------------


@pytest.fixture
def threads() -> Iterator[OwnThreads]:
    """Threads for files and certificates."""
    own = OwnThreads("test", threads=1, waiting=4)
    yield own
    own.close()


def issuer_url(ims: SecureIms, proxy: str) -> IssuerUrl:
    """A URL of an issuer behind a proxy."""
    return IssuerUrl("the JWKS URL", "jwks", ims.base_url, str(ims.ca), None, 65536, EgressProxy(proxy))


async def test_keys_of_an_issuer_come_through_the_proxy(
    proxy: ProxyServer, ims: SecureIms, threads: OwnThreads
) -> None:
    """An issuer's keys take the same way."""
    await issuer_url(ims, proxy.url).ask(threads, "GET", {})

    assert proxy.requests == [f"CONNECT {ims.authority} HTTP/1.1"]


async def test_a_proxy_that_fails_is_named_for_an_issuer(ims: SecureIms, threads: OwnThreads) -> None:
    """The reason that the operator reads names the proxy."""
    with pytest.raises(IssuerError, match="the JWKS URL cannot be reached: The proxy of BROKER_PROXY_URL"):
        await issuer_url(ims, f"http://127.0.0.1:{free_port()}").ask(threads, "GET", {})


# Failures of IMS without a proxy ------------------------------------------------------------------------------------


async def direct_failure(base_url: str, verify: ssl.SSLContext | None = None, proxy: EgressProxy | None = None) -> str:
    """The detail of a failed exchange that does not go through the proxy."""
    async with exchanging(deadline=5.0, verify=verify, proxy=proxy) as broker:
        with pytest.raises(ImsUnavailableError) as caught:
            await broker.exchanger.exchange(grants.oauth_exchange(base_url))
    return caught.value.detail


async def test_a_refused_connection_is_named() -> None:
    """Nothing listens: the connection was refused."""
    assert "IMS cannot be reached: the connection was refused." in await direct_failure(
        f"https://127.0.0.1:{free_port()}"
    )


async def test_an_unknown_certificate_names_the_setting(ims: SecureIms) -> None:
    """The CA of a proxy that inspects TLS belongs into the bundle of ``BROKER_IMS_CACERT``."""
    assert "BROKER_IMS_CACERT" in await direct_failure(ims.base_url)


async def test_an_ended_handshake_is_named() -> None:
    """A middlebox that ends the TLS handshake, or resets the connection, is not reported as a certificate."""

    async def end(line: AcceptedConnection) -> None:
        await line.reader.read(1000)

    async def reset(line: AcceptedConnection) -> None:
        await line.reader.read(1000)
        line.reset()

    for script, sentence in (
        (end, "the other side ended the TLS handshake"),
        (reset, "the connection was reset; a firewall or proxy on the way may block it"),
    ):
        async with run_raw(script) as server:
            assert sentence in await direct_failure(server.base_url.replace("http:", "https:"))


async def test_a_port_without_tls_is_named(ims: SecureIms) -> None:
    """A port that speaks plain HTTP is not reported as a firewall that blocks TLS."""
    detail = await direct_failure(ims.sandbox.base_url.replace("http:", "https:"))

    assert "IMS cannot be reached: that port does not serve TLS. Check the port in ims_base_url." in detail


async def test_an_expired_certificate_is_named(ims: SecureIms, tmp_path: Path) -> None:
    """A certificate that has expired names the clock, and not the bundle of CAs, in which nothing is missing."""
    authority = Authority()
    pair = authority.issue(life=-datetime.timedelta(hours=1))
    (tmp_path / "expired.pem").write_bytes(pair.chain + pair.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "expired.pem")
    async with tls_in_front(urlsplit(ims.sandbox.base_url).port or 0, server) as port:
        detail = await direct_failure(f"https://127.0.0.1:{port}", authority.client())

    assert "its certificate has expired or is not valid yet, or the clock of this host is wrong. Check the" in detail
    assert "BROKER_IMS_CACERT" not in detail


async def test_the_remedy_is_not_a_setting_that_is_set(tmp_path: Path) -> None:
    """A host that does not answer: without a proxy the sentence names its setting, with one that of the exceptions."""
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(0)
    url = f"https://127.0.0.1:{silent.getsockname()[1]}"
    way = EgressProxy("http://127.0.0.1:1", no_proxy=parse_no_proxy("127.0.0.1"))
    with contextlib.closing(silent):
        assert "set BROKER_PROXY_URL." in await direct_failure(url)
        detail = await direct_failure(url, proxy=way)

    assert "BROKER_PROXY_URL is set: check whether BROKER_NO_PROXY excludes this host" in detail


async def test_the_brokers_own_limit_is_not_reported_as_a_slow_ims() -> None:
    """If all connections are in use, the sentence says that it is the broker's limit."""
    reached = asyncio.Event()

    async def hang(line: AcceptedConnection) -> None:
        reached.set()
        await line.gone()

    async with run_raw(hang) as server, exchanging(max_connections=1) as broker:
        broker.client.timeout = httpx2.Timeout(5.0, pool=0.05)
        grant = grants.oauth_exchange(server.base_url)
        first = asyncio.create_task(broker.exchanger.exchange(grant))
        await reached.wait()
        with pytest.raises(ImsUnavailableError, match="as many connections to IMS as it opens at most"):
            await broker.exchanger.exchange(grant)
        first.cancel()


async def test_403_with_an_oauth_error_is_a_rejection() -> None:
    """IMS refused the credential, whatever the status."""
    body = b'{"error": "access_denied", "error_description": "no"}'
    async with run_raw(answering(http_answer(body, status="403 Forbidden"))) as server, exchanging() as broker:
        with pytest.raises(CredentialRejectedError) as caught:
            await broker.exchanger.exchange(grants.oauth_exchange(server.base_url))

    assert caught.value.ims_error == "access_denied"


async def test_403_without_an_oauth_error_is_not_from_ims() -> None:
    """A firewall's page is not a rejection of the credential."""
    body = http_answer(b"<html>blocked</html>", status="403 Forbidden", json=False)
    async with run_raw(answering(body)) as server, exchanging() as broker:
        with pytest.raises(BadUpstreamResponseError, match="a firewall or proxy may have answered"):
            await broker.exchanger.exchange(grants.oauth_exchange(server.base_url))
