"""A session when Vault, or a server in its place, misbehaves: stand-ins on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from app.adapters.vault import VaultCredentialStore
from app.adapters.vault.threads import BoundedThreads
from app.domain.credential import Credential
from app.domain.dependency_errors import CredentialStoreError
from tests.support.http_stand_in import ReceivedRequest, ScriptedReply, StandIn, stand_in
from tests.support.vault_broker import FOUND, NEVER_EXPIRES, REF, TOKEN, reads, store_at

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def socket_server(handler: Handler) -> AsyncIterator[str]:
    """A server with this handler; its URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read forever, and send nothing."""
    while await reader.read(1024):
        pass


async def drip(writer: asyncio.StreamWriter, head: bytes) -> None:
    """Send `head`, then one byte at a time, slowly, forever."""
    writer.write(head)
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def drip_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never finish the header."""
    await drip(writer, b"HTTP/1.1 200 OK\r\nX-Slow:")


async def drip_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never finish the body."""
    await drip(writer, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999999\r\n\r\n")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer like a Vault that has the document."""
    head = await reader.readuntil(b"\r\n\r\n")
    body = json.dumps((NEVER_EXPIRES if b"lookup-self" in head else FOUND).body).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def first_success(store: VaultCredentialStore) -> Credential:
    """Fetch until it succeeds."""
    async with asyncio.timeout(5):
        while True:
            try:
                return await store.fetch(REF)
            except CredentialStoreError:
                await asyncio.sleep(0.05)


class TestHungVault:
    """A Vault that accepts a call and never finishes it."""

    @pytest.mark.parametrize("handler", [silent, drip_head, drip_body])
    async def test_deadline(self, handler: Handler) -> None:
        """If Vault hangs at any point, the call fails within the deadline."""
        async with socket_server(handler) as addr, store_at(addr, deadline=0.5) as store:
            started = time.monotonic()
            with pytest.raises(CredentialStoreError, match="in time"):
                await store.fetch(REF)
            assert 0.4 < time.monotonic() - started < 1.5

    @pytest.mark.parametrize("handler", [drip_head, drip_body])
    async def test_its_threads_are_free_again(self, handler: Handler) -> None:
        """The thread of a call that timed out is free for the next one, even if Vault still sends slowly."""
        connections = itertools.count()

        async def hang_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await (answer(reader, writer) if next(connections) else handler(reader, writer))

        threads = BoundedThreads(threads=1, waiting=0)
        async with socket_server(hang_once) as addr, store_at(addr, deadline=0.5, threads=threads) as store:
            with pytest.raises(CredentialStoreError, match="in time"):
                await store.fetch(REF)
            assert (await first_success(store)).generation == "3"

    async def test_names_are_still_resolved(self) -> None:
        """A hundred calls that hang do not block the event loop's own executor."""
        async with socket_server(silent) as addr, store_at(addr, deadline=1.0) as store:
            fetches = [asyncio.create_task(store.fetch(REF)) for _ in range(100)]
            await asyncio.sleep(0.1)
            started = time.monotonic()
            await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
            assert time.monotonic() - started < 0.3
            results = await asyncio.gather(*fetches, return_exceptions=True)
            assert all(isinstance(result, CredentialStoreError) for result in results)

    async def test_saturation(self) -> None:
        """Calls over the limit fail at once, and the next ones succeed when the queue has room again."""
        release = threading.Event()

        def script(seen: ReceivedRequest) -> ScriptedReply:
            if "/data/" in seen.path:
                release.wait(10)
            return reads(FOUND)(seen)

        with stand_in(script) as vault:
            async with store_at(vault.url, threads=BoundedThreads(threads=1, waiting=1)) as store:
                fetches = [asyncio.create_task(store.fetch(REF)) for _ in range(5)]
                async with asyncio.timeout(3):
                    pending = set(fetches)
                    while len(pending) > 2:
                        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                release.set()
                results = await asyncio.gather(*fetches, return_exceptions=True)
                refused = [result for result in results if isinstance(result, BaseException)]
                assert len(refused) == 3
                assert {str(error) for error in refused} == {"Too many calls to Vault are already waiting."}
                assert (await store.fetch(REF)).generation == "3"

    async def test_close(self) -> None:
        """Closing the session ends its hanging calls."""
        async with socket_server(silent) as addr, store_at(addr, deadline=30.0) as store:
            fetches = [asyncio.create_task(store.fetch(REF)) for _ in range(3)]
            await asyncio.sleep(0.1)
            await store._session.aclose()
            async with asyncio.timeout(2):
                results = await asyncio.gather(*fetches, return_exceptions=True)
            assert {str(result) for result in results} == {"The connection to Vault is closed."}


class TestRequest:
    """Where requests go, and what they carry."""

    async def test_redirect(self) -> None:
        """A redirect is not followed, and the token goes to no other host."""
        with stand_in(reads(FOUND)) as other:
            away = ScriptedReply(307, headers={"Location": f"{other.url.replace('127.0.0.1', 'localhost')}/v1/x"})
            with stand_in(reads(away)) as vault:
                async with store_at(vault.url) as store:
                    with pytest.raises(CredentialStoreError, match="redirect"):
                        await store.fetch(REF)
            assert other.seen == []

    async def test_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Proxies, ``VAULT_*`` variables, .netrc and the token file have no effect."""
        with stand_in(reads(FOUND)) as vault, stand_in(reads(FOUND)) as elsewhere:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "VAULT_ADDR"):
                monkeypatch.setenv(name, elsewhere.url)
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv("VAULT_TOKEN", "of-the-environment")
            monkeypatch.setenv("VAULT_NAMESPACE", "of-the-environment")
            monkeypatch.setenv("HOME", str(tmp_path))
            (tmp_path / ".vault-token").write_text("of-the-file")
            (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
            async with store_at(vault.url) as store:
                await store.fetch(REF)
            self._untouched(vault)
            assert elsewhere.seen == []

    def _untouched(self, vault: StandIn) -> None:
        assert {seen.headers["x-vault-token"] for seen in vault.seen} == {TOKEN}
        assert not [seen for seen in vault.seen if "authorization" in seen.headers]
        assert not [seen for seen in vault.seen if "x-vault-namespace" in seen.headers]

    async def test_namespace(self) -> None:
        """The configured namespace is sent with every request."""
        with stand_in(reads(FOUND)) as vault:
            async with store_at(vault.url, namespace="team/a") as store:
                await store.fetch(REF)
            assert {seen.headers["x-vault-namespace"] for seen in vault.seen} == {"team/a"}

    async def test_address_with_a_path(self) -> None:
        """Behind a gateway, the path of the address comes before that of Vault's API."""
        with stand_in(reads(FOUND)) as vault:
            async with store_at(f"{vault.url}/gw/vault") as store:
                await store.fetch(REF)
            assert {seen.path.partition("/v1/")[0] for seen in vault.seen} == {"/gw/vault"}
