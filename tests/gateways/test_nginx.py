"""nginx as `docs/gateways.md` configures it: real nginx, real broker."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.api.problems import CHALLENGE
from tests.gateways.conftest import GatewaySetup, Surroundings, nginx_places
from tests.support.fenced import documented_files
from tests.support.gateways import DOCUMENT, RunningGateway, adobe_stand_in, belongs_to, nginx, token_in
from tests.support.http_stand_in import ScriptedReply, StandIn, stand_in
from tests.support.waiting import until
from tests.support.wire import Header, Reply

OWN = (b"Authorization", b"Bearer mine"), (b"x-api-key", b"mine"), (b"x-sandbox-name", b"mine"), (b"Cookie", b"a=mine")
LONG_TOKEN = "t" * 12_000
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")


def org_header(org: str) -> Header:
    """The org that a client asks for."""
    return b"x-gw-ims-org-id", org.encode()


def refused(reply: Reply, status: int) -> None:
    """A refusal that says what it is, that nothing keeps, and that shows no token."""
    assert reply.status == status, reply.body
    assert reply.header("Content-Type") == "application/problem+json"
    assert reply.header("Cache-Control") == "no-store"
    document = json.loads(reply.body)
    assert document["status"] == status
    assert re.fullmatch(r"[0-9a-f]{32}", document["request_id"])


async def test_adobe_receives_the_headers_of_the_org_and_none_of_the_clients(behind_nginx: GatewaySetup) -> None:
    """The three headers and the sandbox's name are the broker's; the client's own, with its cookie, stay out."""
    reply = await behind_nginx.gateway.ask("/imp/journeys?limit=1", *OWN, org_header(behind_nginx.second.org))
    seen = behind_nginx.adobe.last()
    assert (reply.status, reply.json) == (200, {"seen": "/imp/journeys?limit=1"})
    assert belongs_to(seen, behind_nginx.first)
    assert seen.headers["x-sandbox-name"] == "stage"
    assert seen.headers["host"] == "platform.adobe.io"
    assert "mine" not in repr(seen.headers)


async def test_a_sandbox_of_the_client_is_dropped_where_the_credential_has_none(behind_nginx: GatewaySetup) -> None:
    """Without a sandbox in the document, no ``x-sandbox-name`` goes to Adobe, whatever the client sends."""
    reply = await behind_nginx.gateway.ask("/data/x", *OWN, host=b"export.gateway.internal")
    assert reply.status == 200
    assert belongs_to(behind_nginx.adobe.last(), behind_nginx.second)
    assert "x-sandbox-name" not in behind_nginx.adobe.last().headers


async def test_the_client_never_sees_the_token(behind_nginx: GatewaySetup) -> None:
    """Neither a good answer nor a refusal shows the client a token or API key."""
    good = await behind_nginx.gateway.ask("/imp/")
    bad = await behind_nginx.gateway.ask("/ajo/", org_header(behind_nginx.first.org))
    token = token_in(behind_nginx.adobe.last())
    for reply in (good, bad):
        shown = repr(reply.headers) + reply.body.decode()
        assert token not in shown
        assert behind_nginx.key not in shown
    assert (good.status, bad.status) == (200, 401)


@pytest.mark.parametrize("method", METHODS)
async def test_method_and_body_stay_the_clients(behind_nginx: GatewaySetup, method: str) -> None:
    """Every method reaches Adobe as it was, with its whole body."""
    body = b"" if method in {"GET", "HEAD", "OPTIONS"} else b"0123456789" * 20_000
    reply = await behind_nginx.gateway.ask("/imp/a%2Fb", method=method, body=body)
    seen = behind_nginx.adobe.last()
    assert (reply.status, seen.method, seen.path) == (200, method, "/imp/a%2Fb")
    assert seen.body == body
    assert belongs_to(seen, behind_nginx.first)


async def test_the_application_can_be_the_caller(behind_nginx: GatewaySetup) -> None:
    """An application's own credential goes to the broker, never to Adobe, and the audit log names the application."""
    credential = behind_nginx.callers["app"]
    reply = await behind_nginx.gateway.ask("/ajo/x", credential, org_header(behind_nginx.second.org))
    assert reply.status == 200
    assert belongs_to(behind_nginx.adobe.last(), behind_nginx.second)
    assert credential[1].decode() not in repr(behind_nginx.adobe.last().headers)
    line = await behind_nginx.broker.audit_line(caller="app", org=behind_nginx.second.org)
    assert (line["endpoint"], line["outcome"]) == ("/headers", "vended")
    assert re.fullmatch(r"[0-9a-f]{32}", str(line["request_id"]))


async def test_an_unknown_or_forbidden_caller_gets_401_or_403(behind_nginx: GatewaySetup) -> None:
    """The broker's 401 stays 401 with its challenge, its 403 stays 403, and Adobe is not asked."""
    count, org = len(behind_nginx.adobe.server.seen), org_header(behind_nginx.first.org)
    unknown = await behind_nginx.gateway.ask("/ajo/x", org, method="POST", body=b"x")
    refused(unknown, 401)
    assert unknown.header("WWW-Authenticate") == CHALLENGE
    refused(await behind_nginx.gateway.ask("/ajo/x", behind_nginx.callers["stranger"], org), 403)
    assert len(behind_nginx.adobe.server.seen) == count


async def test_a_limit_stays_429(behind_nginx: GatewaySetup) -> None:
    """The caller's own limit is 429 with the broker's Retry-After, not nginx's 500."""
    asked = behind_nginx.callers["hasty"], org_header(behind_nginx.second.org)
    assert (await behind_nginx.gateway.ask("/ajo/x", *asked)).status == 200
    limited = await behind_nginx.gateway.ask("/ajo/x", *asked)
    refused(limited, 429)
    assert 1 < int(limited.header("Retry-After") or 0) <= 3600


async def test_trouble_at_adobe_stays_502_or_503(behind_nginx: GatewaySetup) -> None:
    """IMS away is 503 with the broker's Retry-After; a credential that IMS refuses is 502; a missing one is 500."""
    broker, credential = behind_nginx.broker, behind_nginx.callers["app"]
    away, wrong, missing = broker.tenant(), broker.tenant(known_secrets=("another",)), broker.tenant(stored=False)
    broker.sandbox.fault("status", status=429, client_id=away.client_id, retry_after="77")
    reply = await behind_nginx.gateway.ask("/ajo/x", credential, org_header(away.org))
    refused(reply, 503)
    assert 60 < int(reply.header("Retry-After") or 0) <= 77
    refused(await behind_nginx.gateway.ask("/ajo/x", credential, org_header(wrong.org)), 502)
    refused(await behind_nginx.gateway.ask("/ajo/x", credential, org_header(missing.org)), 500)


async def test_a_broker_that_is_away_is_503_and_found_again_when_back(behind_nginx: GatewaySetup) -> None:
    """A killed broker is 503 with body and Retry-After within 3 s; once it is back, the first request works."""
    broker = behind_nginx.broker
    assert (await behind_nginx.gateway.ask("/imp/")).status == 200
    broker.replica.process.kill()
    count = len(behind_nginx.adobe.server.seen)
    try:
        reply = await behind_nginx.gateway.ask("/imp/", method="POST", body=b"x")
        refused(reply, 503)
        assert reply.header("Retry-After") == "5"
        assert reply.seconds < 3
        assert len(behind_nginx.adobe.server.seen) == count
    finally:
        broker.start()
    assert (await behind_nginx.gateway.ask("/imp/")).status == 200


@pytest.mark.parametrize("status", [401, 403, 429, 500, 502, 503])
async def test_what_adobe_answers_is_passed_on_unchanged(behind_nginx: GatewaySetup, status: int) -> None:
    """A refusal by Adobe keeps its status, body and Retry-After, and is not taken for the broker's."""
    behind_nginx.adobe.answer.append(ScriptedReply(status, {"error_code": "403003"}, {"Retry-After": "99"}))
    reply = await behind_nginx.gateway.ask("/imp/")
    assert (reply.status, reply.json, reply.header("Retry-After")) == (status, {"error_code": "403003"}, "99")


@pytest.mark.parametrize(
    "org",
    [
        "",
        "0123456789ABCDEF01234567",
        "0123456789ABCDEF01234567@AdobeOrg&scope=openid",
        "0123456789ABCDEF01234567@AdobeOrg%26credential=admin",
        "0123456789ABCDEF01234567@AdobeOrg x",
        "*",
    ],
)
async def test_a_malformed_org_never_reaches_the_broker(behind_nginx: GatewaySetup, org: str) -> None:
    """What a client puts in the org's place is refused by nginx itself, unless it has exactly the form of an org."""
    count = await _lines_so_far(behind_nginx, "before")
    reply = await behind_nginx.gateway.ask("/ajo/x", OWN[0], org_header(org))
    assert reply.status == 400
    assert await _lines_so_far(behind_nginx, "after") == count + 1


async def _lines_so_far(setup: GatewaySetup, name: str) -> int:
    """The number of audit lines up to that of a request of our own, so that those of earlier requests are written."""
    replica, request_id = setup.broker.replica, f"{name}-{secrets.token_hex(8)}"
    await replica.get("/token", headers=[(b"X-Request-Id", request_id.encode())])
    await until(lambda: any(line.get("request_id") == request_id for line in replica.audit_lines()), 10)
    return len(replica.audit_lines())


async def test_a_host_without_an_org_is_refused(behind_nginx: GatewaySetup) -> None:
    """An application that the map does not know gets no org at all."""
    assert (await behind_nginx.gateway.ask("/data/x", host=b"other.internal")).status == 400


@pytest.mark.parametrize("path", ["/_ims_token/gateway", "/_ims_token/application", "/imp/../_ims_token/gateway"])
async def test_no_client_can_ask_through_the_gateway_for_a_token(behind_nginx: GatewaySetup, path: str) -> None:
    """The locations that ask the broker cannot be requested from outside."""
    reply = await behind_nginx.gateway.ask(path)
    assert reply.status == 404
    assert reply.header("Authorization") is None


@pytest.fixture
def asked(surroundings: Surroundings, tmp_path: Path) -> Iterator[tuple[RunningGateway, StandIn]]:
    """The documented nginx, and in the broker's place a server that remembers how it is asked."""
    vended = {"Authorization": f"Bearer {LONG_TOKEN}", "x-api-key": "id", "x-gw-ims-org-id": surroundings.first.org}
    with stand_in(lambda _: ScriptedReply(200, headers=vended)) as server:
        places = nginx_places(int(server.url.rpartition(":")[2]), surroundings)
        with nginx(tmp_path, {**surroundings.real(), **places}) as gateway:
            yield gateway, server


async def test_the_broker_is_asked_with_nothing_of_the_clients(
    asked: tuple[RunningGateway, StandIn], behind_nginx: GatewaySetup
) -> None:
    """Whatever the client sends, the broker gets a GET without a body, with the gateway's key and a request id."""
    gateway, broker = asked
    sent = *OWN, (b"X-Request-Id", b"mine"), (b"Content-Type", b"text/mine")
    assert (await gateway.ask("/imp/x?org=mine&scope=mine", *sent, method="PUT", body=b"mine" * 9)).status == 200
    [question] = broker.seen
    assert (question.method, question.path) == ("GET", f"/headers?org={behind_nginx.first.org}")
    assert set(question.headers) == {"host", "authorization", "x-request-id"}
    assert question.headers["authorization"] == f"Bearer {behind_nginx.key}"
    assert question.body == b""
    assert "mine" not in repr(question.headers)


async def test_a_long_token_fits(asked: tuple[RunningGateway, StandIn], behind_nginx: GatewaySetup) -> None:
    """A token of 12 kB, three times nginx's default for all headers of an answer, gets through."""
    assert (await asked[0].ask("/imp/x")).status == 200
    assert behind_nginx.adobe.last().headers["authorization"] == f"Bearer {LONG_TOKEN}"


async def test_who_is_not_adobe_gets_no_token(surroundings: Surroundings, tmp_path: Path) -> None:
    """A server with Adobe's name in a certificate of an unknown authority is not sent anything: 502."""
    with adobe_stand_in(tmp_path) as impostor:
        places = nginx_places(surroundings.broker.port, replace(surroundings, adobe=impostor))
        with nginx(tmp_path, {**surroundings.real(), **places}) as gateway:
            assert (await gateway.ask("/imp/x")).status == 502
    assert impostor.server.seen == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's table of connections is Linux-only")
async def test_the_connections_to_the_broker_are_kept(behind_nginx: GatewaySetup) -> None:
    """Twenty requests in a row open no connection to the broker besides those that are open."""
    assert (await behind_nginx.gateway.ask("/imp/")).status == 200
    before = behind_nginx.broker.connections()
    for _ in range(20):
        assert (await behind_nginx.gateway.ask("/imp/")).status == 200
    assert len(behind_nginx.broker.connections() - before) <= 1


async def test_each_application_has_the_org_of_its_host(behind_nginx: GatewaySetup) -> None:
    """The map gives each host its org, and no host another's."""
    for host, tenant in ((b"journey", behind_nginx.first), (b"export", behind_nginx.second)):
        reply = await behind_nginx.gateway.ask("/data/x", host=host + b".gateway.internal")
        assert reply.status == 200
        assert belongs_to(behind_nginx.adobe.last(), tenant)


def test_no_time_out_is_longer_than_the_brokers_own() -> None:
    """Every time-out towards the broker is set, and none is above 15 s."""
    ask = documented_files(DOCUMENT)["ims-token-broker-ask.conf"]
    found = dict(re.findall(r"^proxy_(connect|send|read)_timeout (\d+)s;$", ask, re.MULTILINE))
    assert set(found) == {"connect", "send", "read"}
    assert all(int(seconds) <= 15 for seconds in found.values())


async def test_trace_reaches_no_server_that_would_send_the_token_back(behind_nginx: GatewaySetup) -> None:
    """TRACE, whose answer is the request that the server got, is refused by the gateway: 405."""
    count = len(behind_nginx.adobe.server.seen)
    assert (await behind_nginx.gateway.ask("/imp/x", method="TRACE")).status == 405
    assert len(behind_nginx.adobe.server.seen) == count


async def test_headers_with_underscores_stay_out(behind_nginx: GatewaySetup) -> None:
    """A client's header that some servers would read as one of Adobe's does not get through."""
    names = b"x_api_key", b"X_Gw_Ims_Org_Id", b"x_sandbox_name"
    reply = await behind_nginx.gateway.ask("/imp/x", *((name, b"mine") for name in names))
    assert reply.status == 200
    assert "mine" not in repr(behind_nginx.adobe.last().headers)


@pytest.mark.parametrize(
    "path",
    [
        "/data/..%2Fimp/x",
        "/data%2F../imp/x",
        "/data/%2e%2E/imp/x",
        "/imp/../imp/x",
        "/imp/./x",
        "/imp/x/..",
        "/imp/x/..?a",
        "/data/..%5cimp/../../imp/x",
        "/imp/x/..;/y",
    ],
)
async def test_a_path_that_climbs_goes_nowhere(behind_nginx: GatewaySetup, path: str) -> None:
    """What nginx and Adobe could resolve to different paths is refused: Adobe gets the path as it was written."""
    count = len(behind_nginx.adobe.server.seen)
    assert (await behind_nginx.gateway.ask(path)).status == 400
    assert len(behind_nginx.adobe.server.seen) == count


@pytest.mark.parametrize("path", ["/imp/a..b/...", "/imp/.well-known", "/imp/x?y=/../z", "/imp/x%2e%2ey"])
async def test_dots_that_climb_nowhere_pass(behind_nginx: GatewaySetup, path: str) -> None:
    """Dots within names and in the query are the application's own business."""
    assert (await behind_nginx.gateway.ask(path)).status == 200
    assert behind_nginx.adobe.last().path == path


HIDDEN = b"DELETE /token?org=%b HTTP/1.1\r\nHost: a\r\nAuthorization: %b\r\n\r\n"
FRAMES = {
    "length": b"Content-Length: %d\r\n\r\n",
    "length and chunks": b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"Content-Length: %d\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "space before the colon": b"Content-Length: %d\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "line feed": b"Content-Length: %d\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n\r\n",
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nContent-Length: %d\r\n\r\n",
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
async def test_no_hidden_request_reaches_the_broker(behind_nginx: GatewaySetup, frame: bytes) -> None:
    """A request in the body of another, or behind an upgrade, never arrives at the broker; Adobe sees no upgrade."""
    before = len(behind_nginx.broker.replica.audit_lines())
    name, credential = behind_nginx.callers["app"]
    hidden = HIDDEN % (behind_nginx.second.org.encode(), credential)
    org = behind_nginx.second.org.encode()
    head = b"POST /ajo/x HTTP/1.1\r\nHost: app.test\r\n%b: %b\r\nx-gw-ims-org-id: %b\r\n" % (name, credential, org)
    reader, writer = await asyncio.open_connection("127.0.0.1", behind_nginx.gateway.port)
    writer.write(head + frame % len(hidden) + hidden + b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        await reader.read()
    writer.close()
    reply = await behind_nginx.gateway.ask("/ajo/x", (name, credential), org_header(behind_nginx.second.org))
    assert reply.status == 200
    await until(lambda: len(behind_nginx.broker.replica.audit_lines()) > before)
    new = behind_nginx.broker.replica.audit_lines()[before:]
    assert {line["endpoint"] for line in new if "endpoint" in line} <= {"/headers"}
    assert not any("upgrade" in seen.headers for seen in behind_nginx.adobe.server.seen)


async def test_a_cache_of_the_operator_keeps_no_token(surroundings: Surroundings, tmp_path: Path) -> None:
    """With a cache for all of nginx that ignores what servers forbid, the broker is still asked for each request."""
    cache = (
        f"proxy_cache_path {tmp_path}/cache keys_zone=all:1m; proxy_cache all; proxy_cache_valid any 10m;"
        " proxy_ignore_headers Cache-Control Expires Vary Set-Cookie; proxy_cache_methods GET HEAD POST;"
        " proxy_cache_key $uri;"
    )
    places = nginx_places(surroundings.broker.port, surroundings)
    with nginx(tmp_path, {**surroundings.real(), **places}, cache) as gateway:
        before = len(surroundings.broker.replica.audit_lines())
        for number in range(3):
            assert (await gateway.ask(f"/imp/{number}")).status == 200
            refused(await gateway.ask(f"/ajo/{number}", org_header(surroundings.first.org)), 401)
        await until(lambda: len(surroundings.broker.replica.audit_lines()) >= before + 6)
    files = [path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert files, "nginx must have kept something, or the cache is off"
    assert not [content for content in files if b"Bearer" in content]
