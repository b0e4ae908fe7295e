"""Envoy with ``ext_authz`` as `docs/gateways.md` configures it: real Envoy, real broker."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from app.api.problems import CHALLENGE
from tests.gateways.conftest import GatewaySetup, Surroundings, envoy_places
from tests.support.gateways import KEY, ORGS, RunningGateway, adobe_stand_in, belongs_to, envoy, token_in
from tests.support.http_stand_in import ScriptedReply
from tests.support.waiting import until_answered

NAME = "envoy-ext-authz.yaml"
OWN = (b"x-api-key", b"mine"), (b"x-gw-ims-org-id", b"mine"), (b"x-sandbox-name", b"mine"), (b"Cookie", b"a=mine")
AUTHORIZATION = b"Authorization", b"Bearer mine"


@pytest.fixture(scope="module")
def by_application(surroundings: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Envoy that passes the application's credential, changed as the document says; IMS fails for its second org."""
    broker = surroundings.broker
    away = broker.tenant()
    broker.sandbox.fault("status", status=503, client_id=away.client_id)
    real = {**surroundings.real(), **envoy_places(surroundings), ORGS[1]: away.org}
    del real[KEY]
    with envoy(tmp_path_factory.mktemp("envoy"), NAME, real, _passes_the_applications_credential) as gateway:
        yield gateway


def _passes_the_applications_credential(text: str) -> str:
    config = yaml.safe_load(text)
    [manager] = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    filters = manager["typed_config"]["http_filters"]
    filters[0]["typed_config"]["mutations"]["request_mutations"].remove({"remove": "authorization"})
    del filters[1]
    return json.dumps(config)


async def test_adobe_receives_the_headers_of_the_org_and_none_of_the_clients(behind_authz: GatewaySetup) -> None:
    """The three headers and the sandbox's name are the broker's; the client's own, with its cookie, stay out."""
    reply = await behind_authz.gateway.ask("/imp/journeys?limit=1&org=mine", AUTHORIZATION, *OWN)
    seen = behind_authz.adobe.last()
    assert (reply.status, reply.json) == (200, {"seen": "/imp/journeys?limit=1&org=mine"})
    assert belongs_to(seen, behind_authz.first)
    assert seen.headers["x-sandbox-name"] == "stage"
    assert seen.headers["host"] == "platform.adobe.io"
    assert "mine" not in repr(seen.headers)


async def test_a_route_may_have_an_org_of_its_own(behind_authz: GatewaySetup) -> None:
    """The second route gets the second org's token, and no sandbox name, whatever the client sends."""
    reply = await behind_authz.gateway.ask("/data/x", AUTHORIZATION, *OWN)
    assert reply.status == 200
    assert belongs_to(behind_authz.adobe.last(), behind_authz.second)
    assert "x-sandbox-name" not in behind_authz.adobe.last().headers


async def test_the_client_never_sees_the_token(behind_authz: GatewaySetup) -> None:
    """No answer shows the client a token or API key."""
    reply = await behind_authz.gateway.ask("/imp/")
    shown = repr(reply.headers) + reply.body.decode()
    assert token_in(behind_authz.adobe.last()) not in shown
    assert behind_authz.key not in shown


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_method_and_body_stay_the_clients(behind_authz: GatewaySetup, method: str) -> None:
    """Every method reaches Adobe as it was, with its whole body; the broker is asked with it and answers the same."""
    body = b"" if method in {"GET", "HEAD", "OPTIONS"} else b"0123456789" * 20_000
    reply = await behind_authz.gateway.ask("/imp/a", method=method, body=body)
    seen = behind_authz.adobe.last()
    assert (reply.status, seen.method, seen.path) == (200, method, "/imp/a")
    assert seen.body == body
    assert belongs_to(seen, behind_authz.first)


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_what_adobe_answers_is_passed_on_unchanged(behind_authz: GatewaySetup, status: int) -> None:
    """A refusal by Adobe keeps its status, body and Retry-After, and is not taken for the broker's."""
    behind_authz.adobe.answer.append(ScriptedReply(status, {"error_code": "403003"}, {"Retry-After": "99"}))
    reply = await behind_authz.gateway.ask("/imp/")
    assert (reply.status, reply.json, reply.header("Retry-After")) == (status, {"error_code": "403003"}, "99")


async def test_the_application_can_be_the_caller(by_application: RunningGateway, behind_authz: GatewaySetup) -> None:
    """An application's own credential goes to the broker, never to Adobe, and the audit log names the application."""
    credential = behind_authz.callers["app"]
    assert (await by_application.ask("/imp/", credential, *OWN)).status == 200
    assert belongs_to(behind_authz.adobe.last(), behind_authz.first)
    assert credential[1].decode() not in repr(behind_authz.adobe.last().headers)
    line = await behind_authz.broker.audit_line(caller="app", org=behind_authz.first.org)
    assert (line["endpoint"], line["outcome"]) == ("/headers", "vended")
    # Envoy's own request id, by which its access log and the broker's audit log can be joined.
    assert uuid.UUID(str(line["request_id"])).version == 4


async def test_the_brokers_refusals_stay_what_they_are(
    by_application: RunningGateway, behind_authz: GatewaySetup
) -> None:
    """401 keeps its challenge, 429 its Retry-After, 403 is 403, each with the broker's own body; Adobe is not asked."""
    hasty = behind_authz.callers["hasty-too"]
    assert (await by_application.ask("/imp/", hasty)).status == 200
    count = len(behind_authz.adobe.server.seen)
    unknown = await by_application.ask("/imp/", method="POST", body=b"x")
    forbidden = await by_application.ask("/imp/", behind_authz.callers["stranger"])
    limited = await by_application.ask("/imp/", hasty)
    replies = unknown, forbidden, limited
    assert [reply.status for reply in replies] == [401, 403, 429]
    assert [reply.json["code"] for reply in replies] == ["unauthenticated", "forbidden", "rate_limited"]
    assert {reply.header("Cache-Control") for reply in replies} == {"no-store"}
    assert unknown.header("WWW-Authenticate") == CHALLENGE
    assert 1 < int(limited.header("Retry-After") or 0) <= 3600
    assert len(behind_authz.adobe.server.seen) == count


async def test_trouble_of_ims_is_503(by_application: RunningGateway, behind_authz: GatewaySetup) -> None:
    """IMS away is 503 with a body and a Retry-After, not Envoy's 403."""
    reply = await by_application.ask("/data/", behind_authz.callers["app"])
    assert (reply.status, reply.header("Retry-After")) == (503, "5")
    assert reply.json["title"] == "No token is available at the moment"


async def test_a_broker_that_is_away_is_503_and_found_again_when_back(behind_authz: GatewaySetup) -> None:
    """A killed broker is 503 with body and Retry-After within 3 s; once it is back, requests work again."""
    broker = behind_authz.broker
    assert (await behind_authz.gateway.ask("/imp/")).status == 200
    broker.replica.process.kill()
    count = len(behind_authz.adobe.server.seen)
    try:
        reply = await behind_authz.gateway.ask("/imp/", method="POST", body=b"x")
        assert (reply.status, reply.header("Retry-After")) == (503, "5")
        assert reply.header("Content-Type") == "application/problem+json"
        assert reply.json["title"] == "No token is available at the moment"
        assert reply.seconds < 3
        assert len(behind_authz.adobe.server.seen) == count
    finally:
        broker.start()

    async def works() -> bool:
        return (await behind_authz.gateway.ask("/imp/")).status == 200

    await until_answered(works, 5)


async def test_who_is_not_adobe_gets_no_token(surroundings: Surroundings, tmp_path: Path) -> None:
    """A server with Adobe's name in a certificate of an unknown authority is not sent anything: 503."""
    with adobe_stand_in(tmp_path) as impostor:
        places = envoy_places(replace(surroundings, adobe=impostor))
        with envoy(tmp_path, NAME, {**surroundings.real(), **places}) as gateway:
            assert (await gateway.ask("/imp/x")).status == 503
    assert impostor.server.seen == []


async def test_a_path_cannot_pass_for_another_routes(behind_authz: GatewaySetup) -> None:
    """Dots and double slashes are resolved before the route, and so the org, is chosen; hidden slashes are refused."""
    for path, tenant in (("/imp/../data/x", behind_authz.second), ("//imp//x", behind_authz.first)):
        assert (await behind_authz.gateway.ask(path)).status == 200
        assert belongs_to(behind_authz.adobe.last(), tenant)
        assert ".." not in behind_authz.adobe.last().path
    assert (await behind_authz.gateway.ask("/imp/..%2Fdata/x")).status == 400


async def test_trace_reaches_no_server_that_would_send_the_token_back(behind_authz: GatewaySetup) -> None:
    """TRACE, whose answer is the request that the server got, is refused by the gateway: 405."""
    count = len(behind_authz.adobe.server.seen)
    assert (await behind_authz.gateway.ask("/imp/x", method="TRACE")).status == 405
    assert len(behind_authz.adobe.server.seen) == count


async def test_headers_with_underscores_stay_out(behind_authz: GatewaySetup) -> None:
    """A client's header that some servers would read as one of Adobe's does not get through."""
    names = b"x_api_key", b"X_Gw_Ims_Org_Id", b"x_sandbox_name"
    reply = await behind_authz.gateway.ask("/imp/x", *((name, b"mine") for name in names))
    assert reply.status == 200
    assert "mine" not in repr(behind_authz.adobe.last().headers)
