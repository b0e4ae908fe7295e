"""The way to AWS KMS and the login there, by the real SDK, at a stand-in of KMS and STS."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.egress import EgressProxy
from app.settings.no_proxy import parse_no_proxy
from tests.support.egress_proxy import running_proxy
from tests.support.http_stand_in import ReceivedRequest, ScriptedReply, stand_in
from tests.support.kms_server import ACCESS_KEY, ROLE_ARN, SECRET_KEY, KmsServer
from tests.support.kms_signing import (
    ABSENT_KEY,
    aws_environment,
    kms,
    kms_credential,
    kms_failure,
    kms_signing,
    signed_by,
)
from tests.support.tls import server_tls

__all__ = ["aws_environment", "kms"]  # fixtures


async def test_role_of_the_service_account(kms: KmsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A pod's web identity is exchanged at STS for a session, once, and its token goes along with each request."""
    (tmp_path / "token").write_text(kms.web_identity)
    _with_a_role(monkeypatch, kms, tmp_path / "token")
    key_id = kms.create_key()
    async with kms_signing(kms.url) as signer:
        for _ in range(2):
            assert signed_by(kms, key_id, await signer.sign(kms_credential(key_id), {"sub": "x"}))
    assert ["x-amz-security-token" in request.headers for request in kms.seen] == [False, True, True]


async def test_a_role_that_is_refused(kms: KmsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If STS refuses the web identity, the error names the variables to check, and nothing that AWS said."""
    (tmp_path / "token").write_text("another")
    _with_a_role(monkeypatch, kms, tmp_path / "token")
    async with kms_signing(kms.url) as signer:
        error = await kms_failure(signer, kms.create_key())
    assert error.detail.startswith("AWS does not give the broker its IAM role; check AWS_ROLE_ARN")


async def test_no_login(kms: KmsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any AWS credentials the error says how to give the broker some, and nothing is sent."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with kms_signing(kms.url) as signer:
        error = await kms_failure(signer, kms.create_key())
    assert error.detail.startswith("The broker has no AWS credentials: give its service account an IAM role")
    assert kms.seen == []


async def test_wrong_secret_key(kms: KmsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong secret access key is found by the signature of the request."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    async with kms_signing(kms.url) as signer:
        error = await kms_failure(signer, kms.create_key())
    assert "secret access key, and the clock" in error.detail


async def test_the_environment_names_no_proxy(kms: KmsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies, CA bundles and endpoints in the environment are not used for KMS."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    key_id = kms.create_key()
    async with kms_signing(kms.url) as signer:
        assert signed_by(kms, key_id, await signer.sign(kms_credential(key_id), {"sub": "x"}))


async def test_the_environment_names_no_endpoint(kms: KmsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without BROKER_KMS_ENDPOINT_URL the host of the region is asked, whatever the environment says."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", kms.url)
    async with kms_signing(None, proxy=EgressProxy("http://127.0.0.1:1")) as signer:
        error = await kms_failure(signer, ABSENT_KEY)
    assert error.detail == "The proxy of BROKER_PROXY_URL cannot be used: the connection was refused."
    assert kms.seen == []


async def test_role_of_the_machine(kms: KmsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The role of an EC2 instance is used, and no proxy of the environment is asked for it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    kms.session_tokens[ACCESS_KEY] = "canary-session"
    key_id = kms.create_key()
    with stand_in(_metadata) as machine:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.url)
        async with kms_signing(kms.url) as signer:
            assert signed_by(kms, key_id, await signer.sign(kms_credential(key_id), {"sub": "x"}))


async def test_an_answer_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes byte by byte is given up after the time for an answer."""
    monkeypatch.setattr("app.adapters.aws_kms.kms_clients.ANSWER_SECONDS", 0.3)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        with contextlib.suppress(OSError), contextlib.closing(writer):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, kms_signing(f"http://127.0.0.1:{port}", deadline=10.0) as signer:
        error = await kms_failure(signer, ABSENT_KEY)
    assert "does not answer like AWS KMS" in error.detail


async def test_unreachable() -> None:
    """If nothing listens, the error says so."""
    async with kms_signing("http://127.0.0.1:1") as signer:
        error = await kms_failure(signer, ABSENT_KEY)
    assert error.detail == "AWS KMS cannot be reached: the connection was refused."


async def test_untrusted_certificate(tmp_path: Path) -> None:
    """The certificate of KMS is verified."""
    with KmsServer().running(server_tls(tmp_path)) as server:
        async with kms_signing(server.url) as signer:
            error = await kms_failure(signer, ABSENT_KEY)
        assert error.detail == "AWS KMS cannot be reached: its certificate is not trusted."
        assert server.seen == []


async def test_egress_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an egress proxy KMS is reached by CONNECT, with TLS to KMS itself; what the proxy refuses is named."""
    tls = server_tls(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    (tmp_path / "password").write_text("canary-password\n")
    with KmsServer().running(tls) as server, running_proxy(tmp_path / "proxy") as tinyproxy:
        key_id, port = server.create_key(), urlsplit(server.url).port
        proxy = EgressProxy(tinyproxy.url, "broker", tmp_path / "password")
        async with kms_signing(server.url, proxy=proxy) as signer:
            assert signed_by(server, key_id, await signer.sign(kms_credential(key_id), {"sub": "x"}))
            tinyproxy.start(login=("broker", "another"))
            denied = await kms_failure(signer, key_id)
            tinyproxy.start(ports=[1])
            refused = await kms_failure(signer, key_id)
            tinyproxy.stop()
            away = await kms_failure(signer, key_id)
        assert len(server.seen) == 1
    assert tinyproxy.requests[0].startswith(f"CONNECT 127.0.0.1:{port} ")
    assert "asks for a login (401)" in denied.detail
    assert "refuses to connect to the host (403)" in refused.detail
    assert away.detail == "The proxy of BROKER_PROXY_URL cannot be used: the connection was refused."


async def test_hosts_without_the_proxy(kms: KmsServer) -> None:
    """Plain HTTP, which is for loopback only, and the hosts of BROKER_NO_PROXY are reached directly."""
    key_id = kms.create_key()
    async with kms_signing(kms.url, proxy=EgressProxy("http://127.0.0.1:1")) as signer:
        assert signed_by(kms, key_id, await signer.sign(kms_credential(key_id), {"sub": "x"}))
    secure = kms.url.replace("http:", "https:")
    no_proxy = parse_no_proxy("127.0.0.0/8")
    async with kms_signing(secure, proxy=EgressProxy("http://127.0.0.1:1", no_proxy=no_proxy)) as signer:
        error = await kms_failure(signer, key_id)
    assert error.detail == "AWS KMS cannot be reached: that port does not serve TLS."


async def test_a_login_that_is_away(monkeypatch: pytest.MonkeyPatch, kms: KmsServer, tmp_path: Path) -> None:
    """If STS cannot be reached, the error says that it is STS."""
    (tmp_path / "token").write_text(kms.web_identity)
    _with_a_role(monkeypatch, kms, tmp_path / "token")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    async with kms_signing(kms.url) as signer:
        error = await kms_failure(signer, kms.create_key())
    assert error.detail == "AWS STS cannot be reached: the connection was refused."


def _metadata(request: ReceivedRequest) -> ScriptedReply:
    """What the metadata service of an EC2 instance answers."""
    if request.path == "/latest/api/token":
        return ScriptedReply(200, b"token-of-the-machine")
    if request.path.endswith("/security-credentials/"):
        return ScriptedReply(200, b"role-of-the-machine")
    return ScriptedReply(
        200,
        {
            "Code": "Success",
            "AccessKeyId": ACCESS_KEY,
            "SecretAccessKey": SECRET_KEY,
            "Token": "canary-session",
            "Expiration": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    )


def _with_a_role(monkeypatch: pytest.MonkeyPatch, server: KmsServer, token_file: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE_ARN)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token_file))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
