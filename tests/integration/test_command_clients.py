"""The HTTP clients of commands: Adobe's secrets API and the probe of an API, against a server that misbehaves."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator

import httpx2
import pytest
from typing_extensions import override

from app.adapters.adobe_api import AdobeApiProbe
from app.adapters.adobe_console import AdobeClientSecrets
from app.domain.secret_rotation_state import ConsoleAccess, ConsoleIds, SecretsApiUnavailableError
from app.egress import BodyError, bounded_body
from tests.support.http_stand_in import ReceivedRequest, ScriptedReply, stand_in

ACCESS = ConsoleAccess(ConsoleIds("1", "2"), "client", "token")
COOKIE = {"Set-Cookie": "tenant=first; Path=/"}


async def test_a_probe_keeps_no_cookie() -> None:
    """A cookie that the answer to one tenant sets does not go along with the token of another."""
    with stand_in(lambda _request: ScriptedReply(200, {}, COOKIE)) as server:
        probe = AdobeApiProbe()
        for token in ("first", "second"):
            await probe.get(server.url, {"Authorization": f"Bearer {token}"})
        await probe.aclose()
    assert [request.headers.get("cookie") for request in server.seen] == [None, None]


async def test_the_secrets_api_keeps_no_cookie() -> None:
    """The same holds for calls that change secrets."""
    with stand_in(lambda _request: ScriptedReply(200, {"client_secrets": []}, COOKIE)) as server:
        secrets = AdobeClientSecrets(server.url)
        await secrets.listed(ACCESS)
        await secrets.listed(ACCESS)
        await secrets.aclose()
    assert [request.headers.get("cookie") for request in server.seen] == [None, None]


async def test_a_redirect_is_not_followed() -> None:
    """A redirect would carry the token to another path or host; the probe reports its status."""

    def redirect(_request: ReceivedRequest) -> ScriptedReply:
        return ScriptedReply(302, b"", {"Location": "/elsewhere"})

    with stand_in(redirect) as server:
        probe = AdobeApiProbe()
        answer = await probe.get(server.url, {"Authorization": "Bearer token"})
        await probe.aclose()
    assert answer.status == 302
    assert [request.path for request in server.seen] == ["/"]


async def test_a_large_answer_of_the_secrets_api_is_refused() -> None:
    """An answer of more than 256 KiB is not read to its end."""
    with stand_in(lambda _request: ScriptedReply(200, b"x" * (256 * 1024 + 1))) as server:
        secrets = AdobeClientSecrets(server.url)
        with pytest.raises(SecretsApiUnavailableError):
            await secrets.listed(ACCESS)
        await secrets.aclose()


@pytest.mark.parametrize(
    ("encoding", "sent", "expected"),
    [
        ("identity", b"{}", b"{}"),
        ("gzip", gzip.compress(b"{}"), b"{}"),
        ("deflate", zlib.compress(b"{}"), b"{}"),
        ("br", b"{}", "its body is encoded in a way that was not asked for"),
        ("gzip", b"{}", "its compressed body is damaged"),
        ("gzip", gzip.compress(b"{}")[:-4], "its compressed body is damaged"),
        ("gzip", gzip.compress(b"{}") + b"more", "its compressed body is damaged"),
        ("gzip", gzip.compress(b"x" * 101), "its body is too large"),
        ("identity", b"x" * 101, "its body is too large"),
    ],
    ids=["plain", "gzip", "deflate", "brotli", "not gzip", "cut", "more", "expands", "large"],
)
async def test_body(encoding: str, sent: bytes, expected: bytes | str) -> None:
    """A body of at most 100 bytes is decoded; any other is refused with the reason."""
    response = httpx2.Response(200, headers={"Content-Encoding": encoding}, stream=_Pieces(sent))
    if isinstance(expected, bytes):
        assert await bounded_body(response, 100) == expected
    else:
        with pytest.raises(BodyError, match=expected):
            await bounded_body(response, 100)


class _Pieces(httpx2.AsyncByteStream):
    """A body that comes in pieces of seven bytes."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 7):
            yield self._body[start : start + 7]
