"""The exchanger against a server that misbehaves on the socket as a broken or hostile peer might."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import time
import tracemalloc
import zlib
from email.utils import formatdate
from pathlib import Path

import pytest

from app.domain.dependency_errors import ImsUnavailableError
from app.domain.errors import BrokerError
from app.domain.events import ExchangeFinished
from app.domain.grant import Grant
from app.domain.tenant_errors import BadUpstreamResponseError, CredentialRejectedError
from tests.support import grants
from tests.support.exchanging import Exchanging, exchanging
from tests.support.ims_server import AcceptedConnection, RawServer, Script, answering, http_answer, run_raw
from tests.support.tls import server_tls

TOKEN = {"access_token": "an-opaque-access-token", "token_type": "bearer", "expires_in": 86399}
GOOD = http_answer(json.dumps(TOKEN).encode())


async def outcome(script: Script, *, deadline: float = 2.0, jwt: bool = False) -> tuple[BrokerError | None, RawServer]:
    """The outcome of an exchange with a scripted server."""
    async with run_raw(script) as server, exchanging(deadline) as broker:
        error = await attempt(broker, server, jwt=jwt)
    return error, server


async def attempt(broker: Exchanging, server: RawServer, *, jwt: bool = False) -> BrokerError | None:
    """One exchange; its error, checked to hold no secret and to be reported once."""
    make = grants.jwt_exchange if jwt else grants.oauth_exchange
    told = len(broker.sink.of(ExchangeFinished))
    error = await quietly(broker, make(server.base_url))
    assert [event.outcome for event in broker.sink.of(ExchangeFinished)[told:]] == [error.code if error else "issued"]
    assert error is None or grants.SECRET not in f"{error} {error!r} {error.__cause__}"
    return error


async def quietly(broker: Exchanging, grant: Grant) -> BrokerError | None:
    """One exchange; its error."""
    try:
        await broker.exchanger.exchange(grant)
    except BrokerError as error:
        return error
    return None


async def test_the_request_is_what_ims_expects() -> None:
    """One urlencoded POST that has secrets only in its body and requests no compression."""
    error, server = await outcome(answering(GOOD))
    assert error is None
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /ims/token/v3 HTTP/1.1\r\n")
    lines = head.lower().split(b"\r\n")
    assert b"content-type: application/x-www-form-urlencoded" in lines
    assert b"accept-encoding: identity" in lines
    assert grants.SECRET.encode() not in head
    assert b"client_secret=" + grants.SECRET.encode() in body


def body_of(text: str | bytes, *headers: str, json: bool = True) -> bytes:
    """A 200 answer with this body."""
    return http_answer(text.encode() if isinstance(text, str) else text, headers=headers, json=json)


NONSENSE = {
    "not json": body_of("nonsense"),
    "empty": body_of(""),
    "blank": body_of(" \r\n "),
    "html": body_of(json.dumps(TOKEN), "Content-Type: text/html; charset=utf-8", json=False),
    "html as json": body_of("<html></html>"),
    "not utf-8": body_of(b"\xff\xfe{}"),
    "array": body_of("[1]"),
    "too deep": body_of("[" * 60_000),
    "nan": body_of('{"access_token":"an-opaque-access-token","expires_in":NaN}'),
    "infinity": body_of('{"access_token":"an-opaque-access-token","expires_in":1e999}'),
    "many digits": body_of('{"access_token":"an-opaque-access-token","expires_in":' + "9" * 5000 + "}"),
    "duplicate": body_of('{"access_token":"an-opaque-access-token","expires_in":5,"expires_in":86399}'),
    "crlf token": body_of(json.dumps({**TOKEN, "access_token": "token\r\nX-Injected: 1"})),
    "65 KiB": body_of(json.dumps({**TOKEN, "filler": "x" * 65_536})),
    "declared 100 MB": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n{",
    "gzip bomb": body_of(gzip.compress(b" " * 60_000_000), "Content-Encoding: gzip"),
    "damaged gzip": body_of(gzip.compress(json.dumps(TOKEN).encode())[:-12], "Content-Encoding: gzip"),
    "no gzip at all": body_of(json.dumps(TOKEN), "Content-Encoding: gzip"),
    "brotli": body_of(json.dumps(TOKEN), "Content-Encoding: br"),
    "twice gzip": body_of(gzip.compress(gzip.compress(json.dumps(TOKEN).encode())), "Content-Encoding: gzip, gzip"),
    "not http": b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
    "huge header": b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 500_000 + b"\r\n\r\n",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
    "400 html": http_answer(b"<html>", status="400 Bad Request", json=False),
    "401 empty": http_answer(status="401 Unauthorized"),
    "400 without error": http_answer(b'{"message":"no"}', status="400 Bad Request"),
    "400 with odd error": http_answer(b'{"error":5}', status="400 Bad Request"),
    "400 array": http_answer(b"[]", status="400 Bad Request"),
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense_is_a_bad_upstream_response(name: str) -> None:
    """A nonsense response raises no parser error, uses no excess memory, and none of its text leaks."""
    error, _ = await outcome(answering(NONSENSE[name]))
    assert isinstance(error, BadUpstreamResponseError)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_an_unrequested_compressed_answer_is_read(encoding: str) -> None:
    """A proxy on the path may compress the response."""
    plain = json.dumps(TOKEN).encode()
    body = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)
    error, _ = await outcome(answering(body_of(body, f"Content-Encoding: {encoding}")))
    assert error is None


async def test_a_gzip_bomb_costs_no_memory() -> None:
    """60 MB in 60 kB are not unpacked: the decoder itself enforces the limit."""
    bomb = NONSENSE["gzip bomb"]
    tracemalloc.start()
    try:
        error, _ = await outcome(answering(bomb))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(error, BadUpstreamResponseError)
    assert peak < 10_000_000


async def test_an_endless_body_is_cut_off() -> None:
    """The connection to a server that streams 100 MB is closed after 64 KiB."""
    sent = 0

    async def script(line: AcceptedConnection) -> None:
        nonlocal sent
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(1600):
            await line.send(b"10000\r\n" + b" " * 65_536 + b"\r\n")
            sent += 65_536

    error, _ = await outcome(script)
    assert isinstance(error, BadUpstreamResponseError)
    assert sent < 20_000_000


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 "])
async def test_an_endless_head_is_cut_off(head: bytes) -> None:
    """Headers, status lines and interim answers without end are an outage, and cost little memory."""
    sent = 0

    async def script(line: AcceptedConnection) -> None:
        nonlocal sent
        await line.request()
        await line.send(head)
        piece = head * 1000 if b"100" in head else b"X-Filler: " + b"y" * 1000 + b"\r\n" * (b"OK" in head)
        for _ in range(100_000):
            await line.send(piece)
            sent += len(piece)

    tracemalloc.start()
    try:
        error, _ = await outcome(script)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(error, ImsUnavailableError | BadUpstreamResponseError)
    assert peak < 10_000_000
    assert sent < 100_000_000


@pytest.mark.parametrize(("count", "filler", "refused"), [(10, 0, False), (100, 0, True), (10, 40_000, True)])
async def test_only_a_few_short_interim_answers_are_read(count: int, filler: int, refused: bool) -> None:
    """Interim answers come before the real one in any number and size; beyond a bound the answer is refused."""
    interim = b"HTTP/1.1 103 Early Hints\r\nX-Filler: " + b"y" * filler + b"\r\n\r\n"
    error, server = await outcome(answering(interim * count + GOOD))
    assert isinstance(error, BadUpstreamResponseError) if refused else error is None
    assert len(server.requests) == 1


async def _silent(line: AcceptedConnection) -> None:
    await line.request()
    await line.gone()


async def _never_reads(line: AcceptedConnection) -> None:
    await asyncio.sleep(60)


async def _slow_head(line: AcceptedConnection) -> None:
    await line.request()
    for value in GOOD:
        await line.send(bytes([value]))
        await asyncio.sleep(0.05)


async def _slow_body(line: AcceptedConnection) -> None:
    await line.request()
    await line.send(GOOD[:-60])
    for value in GOOD[-60:]:
        await line.send(bytes([value]))
        await asyncio.sleep(0.05)


async def _slow_500(line: AcceptedConnection) -> None:
    await line.request()
    await line.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n{")
    await line.gone()


@pytest.mark.parametrize("script", [_silent, _never_reads, _slow_head, _slow_body, _slow_500])
async def test_a_slow_server_costs_at_most_the_deadline(script: Script) -> None:
    """Each single byte may be in time, but the whole exchange has one deadline."""
    begin = time.monotonic()
    error, _ = await outcome(script, deadline=0.4, jwt=script is _slow_500)
    assert isinstance(error, ImsUnavailableError)
    assert not error.throttled
    assert time.monotonic() - begin < 1.5


async def test_a_retry_after_is_known_although_the_body_never_arrives() -> None:
    """A 429 takes effect as soon as its header arrives."""

    async def script(line: AcceptedConnection) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 429 Slow Down\r\nRetry-After: 77\r\nContent-Length: 100\r\n\r\n{")
        await line.gone()

    begin = time.monotonic()
    error, _ = await outcome(script)
    assert isinstance(error, ImsUnavailableError)
    assert (error.retry_after, error.throttled) == (77, True)
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize(("seconds", "expected"), [(90, 90), (-90, 5), (10_000_000, 3600)])
async def test_retry_after_may_be_a_date(seconds: int, expected: float) -> None:
    """An HTTP date is a delay from now; a date in the past is nonsense."""
    at = formatdate(time.time() + seconds, usegmt=True)
    error, _ = await outcome(answering(http_answer(status="429 Slow Down", headers=[f"Retry-After: {at}"])))
    assert isinstance(error, ImsUnavailableError)
    assert abs(error.retry_after - expected) <= 2


async def test_a_redirect_is_not_followed() -> None:
    """No secret is ever sent to the target of a redirect."""
    async with run_raw(answering(GOOD)) as elsewhere:
        headers = [f"Location: {elsewhere.base_url}/ims/token/v3"]
        for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
            error, server = await outcome(answering(http_answer(status=status, headers=headers)))
            assert isinstance(error, BadUpstreamResponseError)
            assert len(server.requests) == 1
        assert elsewhere.accepted == 0


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are sent only to IMS, whatever the environment says."""
    async with run_raw(answering(GOOD)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.base_url)
        error, server = await outcome(answering(GOOD))
    assert error is None
    assert (proxy.accepted, server.accepted) == (0, 1)


async def test_cookies_are_not_kept() -> None:
    """A cookie would link one tenant's exchange to another's."""
    answer = http_answer(json.dumps(TOKEN).encode(), headers=["Set-Cookie: relay=canary; Path=/"])
    async with run_raw(answering(answer)) as server, exchanging() as broker:
        await attempt(broker, server)
        await attempt(broker, server)
    assert len(server.requests) == 2
    assert b"relay=" not in b"".join(server.requests)


async def test_connections_are_kept() -> None:
    """Consecutive exchanges share one connection."""
    async with run_raw(answering(GOOD)) as server, exchanging() as broker:
        for _ in range(5):
            assert await attempt(broker, server) is None
    assert server.accepted == 1


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_the_keep_alive_race_is_retried_once_on_a_new_connection(how: str) -> None:
    """An idle connection that closes when it is reused costs only a second request."""

    async def script(line: AcceptedConnection) -> None:
        await line.request()
        if line.number == 1:
            await line.send(GOOD)
            await line.request()
            if how == "reset":
                line.reset()
            return
        await line.send(GOOD)
        await line.gone()

    async with run_raw(script) as server, exchanging() as broker:
        assert await attempt(broker, server) is None
        assert await attempt(broker, server) is None
    assert (server.accepted, len(server.requests)) == (2, 3)


async def test_the_retry_is_not_retried() -> None:
    """A server that closes again and again gets two requests, not three."""

    async def script(line: AcceptedConnection) -> None:
        await line.request()
        if line.number == 1:
            await line.send(GOOD)
            await line.request()

    async with run_raw(script) as server, exchanging() as broker:
        assert await attempt(broker, server) is None
        assert isinstance(await attempt(broker, server), ImsUnavailableError)
    assert (server.accepted, len(server.requests)) == (2, 3)


@pytest.mark.parametrize("how", ["close", "reset", "half"])
async def test_a_new_connection_that_closes_is_an_outage(how: str) -> None:
    """Only the race with a kept connection is retried; anything else is left for the caller to retry."""

    async def script(line: AcceptedConnection) -> None:
        await line.request()
        if how == "half":
            await line.send(GOOD[:-5])
        if how == "reset":
            line.reset()

    error, server = await outcome(script)
    assert isinstance(error, ImsUnavailableError)
    assert server.accepted == 1


async def test_a_closed_port_is_an_outage() -> None:
    """A closed port is reported as an IMS outage, not as our error or the tenant's."""
    async with run_raw(answering(GOOD)) as server:
        pass
    async with exchanging() as broker:
        error = await attempt(broker, server)
    assert isinstance(error, ImsUnavailableError)
    assert "connection" in error.detail


async def test_an_untrusted_certificate_is_refused(tmp_path: Path) -> None:
    """A TLS error is distinguished from a closed port, and no byte of the request is sent."""
    async with run_raw(answering(GOOD), server_tls(tmp_path)) as server, exchanging() as broker:
        error = await attempt(broker, server)
    assert isinstance(error, ImsUnavailableError)
    assert "TLS" in error.detail
    assert server.requests == []


async def test_an_error_that_repeats_our_secret_is_not_passed_on() -> None:
    """Neither the error code nor the debug id may leak a secret, in any encoding."""
    body = json.dumps({"error": f"bad {grants.SECRET}", "error_description": grants.SECRET}).encode()
    answer = http_answer(body, status="401 Unauthorized", headers=[f"X-Debug-Id: x-{grants.SECRET}"])
    error, _ = await outcome(answering(answer))
    assert isinstance(error, CredentialRejectedError)
    assert (error.ims_error, error.debug_id) == ("unknown", None)


async def test_an_error_code_is_cleaned() -> None:
    """Odd characters and excessive length do not reach logs or responses."""
    body = json.dumps({"error": "in\r\nvalid<b>_" + "x" * 500, "error_description": "canary-text"}).encode()
    answer = http_answer(body, status="400 Bad Request", headers=["X-Debug-Id: a b;c\x7f"])
    error, _ = await outcome(answering(answer))
    assert isinstance(error, CredentialRejectedError)
    assert error.ims_error == ("invalidb_" + "x" * 500)[:64]
    assert "canary" not in error.detail


@pytest.mark.parametrize("description", ["", None, 5])
async def test_an_error_without_a_description_is_enough(description: object) -> None:
    """IMS has been seen to omit the description."""
    body = json.dumps({"error": "invalid_client", "error_description": description}).encode()
    error, _ = await outcome(answering(http_answer(body, status="401 Unauthorized")))
    assert isinstance(error, CredentialRejectedError)
    assert error.secret_refused


@pytest.mark.parametrize("text", ["Could not match JWT signature to any of the bindings",
                                  "Could not match signature to any of the bindings"])  # fmt: skip
async def test_both_wordings_about_bindings_are_understood(text: str) -> None:
    """IMS has changed its wording before."""
    body = json.dumps({"error": "invalid_token", "error_description": text}).encode()
    error, _ = await outcome(answering(http_answer(body, status="400 Bad Request")), jwt=True)
    assert isinstance(error, CredentialRejectedError)
    assert "certificate" in error.detail


async def test_cancelled_exchanges_leave_the_pool_healthy() -> None:
    """After many cancellations with a small pool, every slot is free again and each caller gets its own answer."""

    async def script(line: AcceptedConnection) -> None:
        while await line.request():
            await asyncio.sleep(random.random() * 0.004)
            await line.send(GOOD)

    chance = random.Random(7)
    async with run_raw(script) as server, exchanging(max_connections=5) as broker:
        grant = grants.oauth_exchange(server.base_url)

        async def impatient() -> None:
            try:
                async with asyncio.timeout(chance.random() * 0.006):
                    await broker.exchanger.exchange(grant)
            except TimeoutError:
                pass

        for _ in range(20):
            await asyncio.gather(*(impatient() for _ in range(20)))
        cancelled = sum(event.outcome == "cancelled" for event in broker.sink.of(ExchangeFinished))
        assert cancelled > 50
        results = await asyncio.gather(*(quietly(broker, grant) for _ in range(20)))
        assert results == [None] * 20
        assert len(broker.sink.of(ExchangeFinished)) == len(broker.sink.calls("exchange")) == 420


async def test_hanging_tenants_do_not_block_another() -> None:
    """While 100 exchanges hang, the next one is answered at once."""

    async def script(line: AcceptedConnection) -> None:
        request = await line.request()
        if b"hangs" in request:
            await line.gone()
        await line.send(GOOD)

    async with run_raw(script) as server, exchanging(deadline=5) as broker:
        stuck = grants.oauth_exchange(credential=grants.oauth_credential(base_url=server.base_url, client_id="hangs"))
        hanging = [asyncio.create_task(broker.exchanger.exchange(stuck)) for _ in range(100)]
        while len(server.requests) < 100:  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.01)
        begin = time.monotonic()
        assert await attempt(broker, server) is None
        assert time.monotonic() - begin < 0.5
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
