"""Answers from Vault, or from a server in its place, that hold no document."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import threading
from pathlib import Path

import pytest

from app.adapters.vault.wire import MAX_VAULT_ANSWER_BYTES
from app.domain.dependency_errors import CredentialStoreError
from app.domain.errors import BrokerError
from tests.support.cycles import no_cycles_of_frames
from tests.support.documents import CANARY
from tests.support.http_stand_in import ReceivedRequest, ScriptedReply, stand_in
from tests.support.keys import key_pair
from tests.support.tls import server_tls
from tests.support.vault_broker import FOUND, REF, reads, store_at


def close_all(server: socket.socket) -> None:
    """Accept connections and close them after the request, until the server ends."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)


class TestBadAnswers:
    """Answers that hold no document."""

    @pytest.mark.parametrize(
        ("reply", "told"),
        [
            (ScriptedReply(500, {"errors": [CANARY]}), "internal error"),
            (ScriptedReply(502, CANARY.encode()), "internal error"),
            (ScriptedReply(503, {"errors": ["Vault is sealed"]}), "sealed"),
            (ScriptedReply(429, {"errors": [CANARY]}), "rate"),
            (ScriptedReply(418, {"errors": [CANARY]}), "does not answer like Vault"),
            (ScriptedReply(403, CANARY.encode(), {"Content-Type": "text/html"}), "policy"),
            (ScriptedReply(403, [CANARY]), "policy"),
            (ScriptedReply(200, f"<html>{CANARY}".encode()), "does not answer like Vault"),
            (ScriptedReply(200, b"[" * 100_000), "does not answer like Vault"),
            (ScriptedReply(200, [CANARY]), "does not answer like Vault"),
            (ScriptedReply(200, {"data": CANARY}), "does not answer like Vault"),
            (ScriptedReply(200, {"data": {"data": {}, "metadata": {"version": CANARY}}}), "does not answer like Vault"),
            (ScriptedReply(204), "does not answer like Vault"),
            (ScriptedReply(200, b"x", {"Content-Encoding": "gzip"}), "does not answer like Vault"),
        ],
    )
    async def test_read(self, reply: ScriptedReply, told: str) -> None:
        """Any answer without a document is an error with our own message."""
        with stand_in(reads(reply)) as vault:
            async with store_at(vault.url) as store:
                with pytest.raises(CredentialStoreError, match=told) as caught:
                    await store.fetch(REF)
        error: BaseException | None = caught.value
        while error is not None:
            assert CANARY not in f"{error!r} {error} {vars(error)}"
            error = error.__context__

    @pytest.mark.parametrize("status", [404, 412, 500])
    async def test_a_refusal_leaves_no_cycle(self, status: int) -> None:
        """A refusal that is final, passes or is an outage leaves nothing for the garbage collector."""
        with stand_in(reads(ScriptedReply(status))) as vault:
            async with store_at(vault.url, deadline=0.5) as store:
                with no_cycles_of_frames():
                    for _ in range(2):
                        with contextlib.suppress(BrokerError):
                            await store.fetch(REF)

    async def test_no_answer_leaves_no_cycle(self) -> None:
        """A read that takes too long leaves nothing for the garbage collector, although its task has the error."""
        released = threading.Event()
        usual = reads(FOUND)

        def hang(seen: ReceivedRequest) -> ScriptedReply:
            if seen.path.endswith("default"):
                released.wait(10.0)
            return usual(seen)

        with stand_in(hang) as vault:
            async with store_at(vault.url, deadline=0.3) as store:
                with no_cycles_of_frames():
                    [ended], _ = await asyncio.wait({asyncio.create_task(store.fetch(REF))}, timeout=5.0)
                    failed = isinstance(ended.exception(), CredentialStoreError)
                    released.set()
                    del ended
                assert failed

    @pytest.mark.parametrize("accepted", [False, True])
    async def test_a_lost_connection_leaves_no_cycle(self, accepted: bool) -> None:
        """A connection that is refused or closed leaves nothing for the garbage collector, as urllib3 alone would."""
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            if accepted:
                server.listen()
                threading.Thread(target=close_all, args=(server,), daemon=True).start()
            host, port = server.getsockname()
            async with store_at(f"http://{host}:{port}", deadline=0.5) as store:
                with no_cycles_of_frames(), contextlib.suppress(CredentialStoreError):
                    await store.fetch(REF)
            if accepted:
                server.shutdown(socket.SHUT_RDWR)  # ends the thread

    @pytest.mark.parametrize("compressed", [False, True])
    async def test_a_huge_answer_is_not_read(self, compressed: bool) -> None:
        """An answer of more than 16 MiB is cut off, also one that is small before it is decompressed."""
        huge = json.dumps({"data": {"data": {"x": "y" * MAX_VAULT_ANSWER_BYTES}, "metadata": {"version": 3}}}).encode()
        headers = {"Content-Encoding": "gzip"} if compressed else {}
        reply = ScriptedReply(200, gzip.compress(huge) if compressed else huge, headers)
        with stand_in(reads(reply)) as vault:
            async with store_at(vault.url) as store:
                with pytest.raises(CredentialStoreError, match="does not answer like Vault"):
                    await store.fetch(REF)

    async def test_closed_port(self) -> None:
        """A closed port is an immediate error."""
        with stand_in(reads(FOUND)) as vault:
            addr = vault.url
        async with store_at(addr) as store:
            with pytest.raises(CredentialStoreError, match="cannot be reached"):
                await store.fetch(REF)


class TestCertificate:
    """Vault's own TLS certificate."""

    @pytest.mark.parametrize(
        ("cacert", "reason"),
        [
            (None, "not trusted"),
            ("other", "not trusted"),
            ("absent", "BROKER_VAULT_CACERT cannot be read: no such file or directory"),
        ],
    )
    async def test_untrusted(self, tmp_path: Path, cacert: str | None, reason: str) -> None:
        """A certificate that is not signed by the configured CA is refused, and nothing is sent."""
        (tmp_path / "other").write_text(key_pair("other").certificate)
        with stand_in(reads(FOUND), server_tls(tmp_path)) as vault:
            async with store_at(vault.url, cacert=None if cacert is None else tmp_path / cacert) as store:
                with pytest.raises(CredentialStoreError, match=reason):
                    await store.fetch(REF)
            assert vault.seen == []

    async def test_trusted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A certificate of the configured CA is accepted, whatever CA bundle the environment names."""
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent"))
        with stand_in(reads(FOUND), server_tls(tmp_path)) as vault:
            async with store_at(vault.url, cacert=tmp_path / "ca.pem") as store:
                assert (await store.fetch(REF)).generation == "3"
