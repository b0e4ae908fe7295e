"""The sandbox over sockets: everything from certificate to API call, its control API, and 1,000 parallel requests."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx2
import jwt
import pytest

from app.sandbox import create_sandbox
from tests.support import grants
from tests.support.ims_server import RunningSandbox, run_sandbox
from tests.support.keys import key_pair
from tests.support.sandbox_clients import jwt_client, oauth_client

OTHER_CLIENT = "another-client"


@pytest.fixture
async def ims() -> AsyncIterator[RunningSandbox]:
    """A sandbox with an OAuth client and a client of another org."""
    clients = [oauth_client(), oauth_client(client_id=OTHER_CLIENT, org=grants.OTHER_ORG)]
    async with run_sandbox(clients) as running:
        yield running


@pytest.fixture
async def http(ims: RunningSandbox) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the sandbox."""
    async with httpx2.AsyncClient(base_url=ims.base_url, trust_env=False) as client:
        yield client


def form(**changes: str) -> dict[str, str]:
    """A valid form for the token endpoint, with these changes."""
    return {**grants.oauth_exchange().form, **changes}


async def minted(http: httpx2.AsyncClient, **changes: str) -> str:
    """A token."""
    answer = await http.post("/ims/token/v3", data=form(**changes))
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


def headers(token: str, **changes: str) -> dict[str, str]:
    """The headers of a valid API call."""
    good = {"Authorization": f"Bearer {token}", "X-Api-Key": grants.CLIENT_ID, "x-gw-ims-org-id": grants.ORG}
    return {name: value for name, value in {**good, **changes}.items() if value}


async def test_a_token_looks_like_adobes(http: httpx2.AsyncClient) -> None:
    """A token is an RS256 JWT that verifies with the published key; its times are strings of milliseconds."""
    token = await minted(http)
    key = jwt.PyJWKSet.from_dict((await http.get("/ims/keys")).json()).keys[0]
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"])
    assert claims["type"] == "access_token"
    assert claims["client_id"] == grants.CLIENT_ID
    assert claims["user_id"] == grants.ACCOUNT
    assert claims["scope"] == "AdobeID,openid"
    assert abs(int(claims["created_at"]) / 1000 - time.time()) < 5
    assert claims["expires_in"] == "86399000"
    assert "exp" not in claims


async def test_every_answer_has_a_debug_id(http: httpx2.AsyncClient) -> None:
    """Every response, to a valid request or not, has an X-Debug-Id, and never the same one twice."""
    answers = [
        await http.post("/ims/token/v3", data=form()),
        await http.post("/ims/token/v3", data={}),
        await http.get("/ims/nothing"),
        await http.get("/imp/"),
    ]
    assert len({answer.headers["x-debug-id"] for answer in answers}) == 4


@pytest.mark.parametrize("path", ["/ims/exchange/jwt", "/ims/exchange/jwt/", "/ims/exchange/v1/jwt"])
async def test_the_jwt_endpoint_has_three_paths_and_counts_in_milliseconds(path: str) -> None:
    """The JWT endpoint answers at all three paths that Adobe's own clients use, with lifetimes in milliseconds."""
    async with run_sandbox([jwt_client()]) as ims, httpx2.AsyncClient(base_url=ims.base_url) as http:
        claims = {
            "exp": int(time.time()) + 300, "iss": grants.ORG, "sub": grants.ACCOUNT,
            "aud": f"{ims.base_url}/c/{grants.CLIENT_ID}", f"{ims.base_url}/s/ent_aem_cloud_api": True,
        }  # fmt: skip
        assertion = jwt.encode(claims, key_pair().key, algorithm="RS256")
        answer = await http.post(path, data=dict(grants.jwt_exchange(assertion=assertion).form))
    assert answer.status_code == 200, answer.text
    assert answer.json()["expires_in"] == 86_399_000
    assert answer.json()["token_type"] == "bearer"


@pytest.mark.parametrize("path", ["/ims/token/v3", "/ims/token/v2"])
async def test_the_token_endpoint_counts_in_seconds(http: httpx2.AsyncClient, path: str) -> None:
    """Both versions of the token endpoint answer in seconds; a client id in the query is accepted."""
    data = form()
    del data["client_id"]
    answer = await http.post(path, data=data, params={"client_id": grants.CLIENT_ID})
    assert answer.json()["expires_in"] == 86399


@pytest.mark.parametrize(("changes", "status", "error"), [
    ({"client_id": "stranger"}, 400, "invalid_client"), ({"client_secret": "wrong"}, 400, "invalid_client"),
    ({"client_secret": ""}, 400, "invalid_client"), ({"scope": ""}, 400, "invalid_scope"),
    ({"scope": "openid,unknown"}, 400, "invalid_scope"), ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ({"org_id": grants.OTHER_ORG}, 400, "unauthorized_client"),
])  # fmt: skip
async def test_a_wrong_field_is_refused_like_ims(
    http: httpx2.AsyncClient, changes: dict[str, str], status: int, error: str
) -> None:
    """Status and error are the ones that IMS has been seen to return."""
    answer = await http.post("/ims/token/v3", data=form(**changes))
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["error_description"]


@pytest.mark.parametrize("request_", [
    {"json": {"client_id": "x"}}, {"data": {"client_id": ["a", "b"]}}, {"data": {"x": "y" * 70_000}},
    {"content": b"\xff=\xfe", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
])  # fmt: skip
async def test_a_form_that_cannot_be_read_is_refused(http: httpx2.AsyncClient, request_: dict[str, Any]) -> None:
    """A wrong content type, a duplicate field, an oversized form or junk is a ``bad_request``."""
    answer = await http.post("/ims/token/v3", **request_)
    assert answer.json()["error"] == "bad_request"


async def test_the_api_answers_a_good_call(http: httpx2.AsyncClient) -> None:
    """A call whose token, key and org match is accepted."""
    token = await minted(http)
    answer = await http.get("/imp/messages", headers=headers(token, **{"x-sandbox-name": "prod"}))
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok", "path": "/imp/messages", "client_id": grants.CLIENT_ID, "org_id": grants.ORG, "sandbox": "prod",
    }  # fmt: skip


@pytest.mark.parametrize(("changes", "status", "code"), [
    ({"X-Api-Key": ""}, 403, "403000"), ({"x-gw-ims-org-id": ""}, 403, "403000"), ({"X-Api-Key": "x"}, 403, "403003"),
    ({"X-Api-Key": OTHER_CLIENT}, 403, "403003"), ({"x-gw-ims-org-id": grants.OTHER_ORG}, 403, "403003"),
    ({"Authorization": ""}, 403, "403010"), ({"Authorization": "Bearer"}, 403, "403010"),
    ({"Authorization": "Basic eDp5"}, 403, "403010"), ({"Authorization": "Bearer forged"}, 401, "401013"),
])  # fmt: skip
async def test_the_api_refuses_like_adobes_gateway(
    http: httpx2.AsyncClient, changes: dict[str, str], status: int, code: str
) -> None:
    """Each missing field, or one that does not match the token, has its own code."""
    answer = await http.get("/imp/", headers=headers(await minted(http), **changes))
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)


async def test_an_expired_or_revoked_token_is_refused(http: httpx2.AsyncClient, ims: RunningSandbox) -> None:
    """A test can provoke 401013 by waiting or through the control API."""
    token = await minted(http)
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert (await http.post("/sandbox/tokens/revoke", json={"token_sha256": digest})).status_code == 204
    assert (await http.get("/imp/", headers=headers(token))).json()["error_code"] == "401013"
    assert (await http.post("/sandbox/tokens/revoke", json={"token_sha256": "0" * 64})).status_code == 404
    assert (await http.put("/sandbox/settings", json={"token_lifetime": 0.05})).status_code == 200
    short = await minted(http)
    await asyncio.sleep(0.1)
    assert (await http.get("/imp/", headers=headers(short))).status_code == 401


async def test_tokens_can_be_validated_and_revoked(http: httpx2.AsyncClient) -> None:
    """Validation answers 200 for valid and for invalid tokens."""
    token = await minted(http)
    asked = {"type": "access_token", "client_id": grants.CLIENT_ID, "token": token}
    good = (await http.post("/ims/validate_token/v1", data=asked)).json()
    assert good["valid"]
    assert good["token"]["client_id"] == grants.CLIENT_ID
    assert not (await http.post("/ims/validate_token/v1", data={**asked, "client_id": "x"})).json()["valid"]
    assert (await http.post("/ims/invalidate_token/v2", data=asked)).status_code == 200
    assert not (await http.post("/ims/validate_token/v1", data=asked)).json()["valid"]


async def test_a_client_can_be_put_and_deleted(http: httpx2.AsyncClient) -> None:
    """A secret can be replaced, a kind changed, a client deleted; no secret is shown."""
    client = {"org_id": grants.ORG, "kind": "oauth_server_to_server", "client_secrets": ["new-secret"],
              "scopes": list(grants.SCOPES), "token_lifetime": 40}  # fmt: skip
    put = await http.put(f"/sandbox/clients/{grants.CLIENT_ID}", json=client)
    assert put.status_code == 200
    assert "new-secret" not in put.text + (await http.get("/sandbox/clients")).text
    assert (await http.post("/ims/token/v3", data=form())).status_code == 400
    assert (await http.post("/ims/token/v3", data=form(client_secret="new-secret"))).json()["expires_in"] == 40
    converted = await http.post("/ims/exchange/jwt", data=form(client_secret="new-secret"))
    assert (converted.status_code, converted.json()["error"]) == (500, "internal_error")
    assert (await http.delete(f"/sandbox/clients/{grants.CLIENT_ID}")).status_code == 204
    assert (await http.delete(f"/sandbox/clients/{grants.CLIENT_ID}")).status_code == 404
    assert (await http.put("/sandbox/clients/x", json={**client, "client_id": "y"})).status_code == 400


async def test_the_journal_records_the_client_and_the_outcome(http: httpx2.AsyncClient) -> None:
    """The journal has each exchange once, in order, with the token's hash and no secret."""
    token = await minted(http)
    await http.post("/ims/token/v3", data=form(client_secret="canary-wrong-secret"))
    await http.post("/ims/token/v3", data=form(client_id="stranger"))
    await http.post("/sandbox/faults", json={"kind": "status", "status": 503, "count": 1})
    await http.post("/ims/token/v3", data=form())
    answer = await http.get("/sandbox/journal")
    entries = answer.json()["entries"]
    assert [entry["outcome"] for entry in entries] == ["issued", "invalid_client", "invalid_client", "status"]
    assert [entry["client_id"] for entry in entries] == [grants.CLIENT_ID, grants.CLIENT_ID, None, grants.CLIENT_ID]
    assert entries[0]["token_sha256"] == hashlib.sha256(token.encode()).hexdigest()
    assert entries[0]["org"] == grants.ORG
    assert not any(secret in answer.text for secret in (token, grants.SECRET, "canary"))
    assert len((await http.get("/sandbox/journal", params={"since": 3})).json()["entries"]) == 1
    assert (await http.get("/sandbox/journal", params={"since": "x"})).status_code == 400
    await http.delete("/sandbox/journal")
    assert (await http.get("/sandbox/journal")).json()["entries"] == []


async def test_a_fault_affects_one_client_until_it_is_cleared(http: httpx2.AsyncClient) -> None:
    """While one client is throttled, another is served."""
    order = {"kind": "status", "status": 429, "retry_after": "Fri, 31 Dec 1999 23:59:59 GMT",
             "client_id": grants.CLIENT_ID}  # fmt: skip
    assert (await http.post("/sandbox/faults", json=order)).status_code == 201
    struck = await http.post("/ims/token/v3", data=form())
    assert (struck.status_code, struck.headers["retry-after"]) == (429, order["retry_after"])
    await minted(http, client_id=OTHER_CLIENT)
    assert (await http.get("/sandbox/faults")).json()["faults"][0]["hits"] == 1
    assert (await http.delete("/sandbox/faults")).status_code == 204
    await minted(http)
    assert (await http.post("/sandbox/faults", json={"kind": "nonsense"})).status_code == 400
    assert (await http.post("/sandbox/faults", content=b"[" * 50_000)).status_code == 400


@pytest.mark.parametrize(("status", "code"), [
    (401, "401013"), (403, "403003"), (429, "429050"), (503, "503010"), (500, "500000"),
])  # fmt: skip
async def test_a_fault_at_an_api_answers_like_its_gateway(http: httpx2.AsyncClient, status: int, code: str) -> None:
    """A status at the path of an API has the gateway's body, and exchanges are not struck."""
    token = await minted(http)
    order = {"kind": "status", "status": status, "retry_after": "7", "path": "/imp/messages"}
    assert (await http.post("/sandbox/faults", json=order)).status_code == 201
    struck = await http.get("/imp/messages/1", headers=headers(token))
    assert (struck.status_code, struck.json()["error_code"], struck.headers["retry-after"]) == (status, code, "7")
    assert (await http.get("/imp/campaigns", headers=headers(token))).status_code == 200
    await minted(http)


async def test_an_exchange_can_be_lost(http: httpx2.AsyncClient) -> None:
    """With a lost answer the token is issued, as the journal says, but does not arrive."""
    await http.post("/sandbox/faults", json={"kind": "lost", "status": 504, "count": 1})
    lost = await http.post("/ims/token/v3", data=form())
    assert (lost.status_code, lost.json()) == (504, {"error": "service_unavailable"})
    [entry] = (await http.get("/sandbox/journal")).json()["entries"]
    assert (entry["outcome"], entry["fault"]) == ("issued", "lost")


@pytest.mark.parametrize("kind", ["latency", "drip"])
async def test_an_api_can_be_slow(http: httpx2.AsyncClient, kind: str) -> None:
    """A slow answer of an API is the right one."""
    token = await minted(http)
    await http.post("/sandbox/faults", json={"kind": kind, "seconds": 0.002, "path": "/imp"})
    answer = await http.get("/imp/", headers=headers(token))
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    wrong = await http.get("/imp/", headers=headers("forged"))
    assert (wrong.status_code, wrong.json()["error_code"]) == (401, "401013")
    assert (await http.get("/sandbox/faults")).json()["faults"][0]["hits"] == 2


async def test_the_journal_names_calls_of_apis_if_asked(http: httpx2.AsyncClient) -> None:
    """Exchanges and API calls have one order, their outcome, and the debug id of their answer; no token, no path."""
    token = await minted(http)
    answers = [
        await http.get("/imp/canary-path", headers=headers(token)),
        await http.get("/imp/", headers=headers("canary-token")),
        await http.get("/imp/", headers=headers(token, **{"X-Api-Key": "canary-key", "x-gw-ims-org-id": "canary-org"})),
        await http.get("/console/organizations/1/credentials/2/secrets", headers=headers(token)),
    ]
    await http.post("/sandbox/faults", json={"kind": "empty", "path": "/imp"})
    answers.append(await http.get("/imp/", headers=headers(token)))
    journal = await http.get("/sandbox/journal", params={"endpoint": "", "since": "1"})
    entries = journal.json()["entries"]
    assert [(entry["endpoint"], entry["outcome"], entry["fault"]) for entry in entries] == [
        ("/imp", "ok", None), ("/imp", "401013", None), ("/imp", "403003", None),
        ("/console/secrets", "403011", None), ("/imp", "empty", "empty"),
    ]  # fmt: skip
    assert [entry["debug_id"] for entry in entries] == [answer.headers["x-debug-id"] for answer in answers]
    assert [entry["client_id"] for entry in entries] == [grants.CLIENT_ID] * 2 + [None] + [grants.CLIENT_ID] * 2
    assert [entry["org"] for entry in entries] == [grants.ORG] * 2 + [None] + [grants.ORG] * 2
    assert not any(text in journal.text for text in ("canary-path", "canary-token", "canary-key", "canary-org"))
    assert len((await http.get("/sandbox/journal")).json()["entries"]) == 1


async def test_a_hanging_exchange_ends_with_its_client(http: httpx2.AsyncClient, ims: RunningSandbox) -> None:
    """A hanging exchange ends when its client disconnects."""
    await http.post("/sandbox/faults", json={"kind": "hang", "count": 1})
    with pytest.raises(httpx2.ReadTimeout):
        await http.post("/ims/token/v3", data=form(), timeout=0.2)
    assert ims.sandbox.state.journal.entries()[-1].outcome == "hang"
    await minted(http)


@pytest.mark.parametrize("settings", [{}, {"x": 1}, {"token_lifetime": 0}, {"token_lifetime": "40"},
                                      {"token_lifetime": True}, {"base_urls": []}, {"base_urls": "x"},
                                      {"base_urls": ["nohost"]}])  # fmt: skip
async def test_invalid_settings_are_refused(http: httpx2.AsyncClient, settings: dict[str, Any]) -> None:
    """A refused request to the control API changes nothing."""
    before = (await http.get("/sandbox/settings")).json()
    assert (await http.put("/sandbox/settings", json=settings)).status_code == 400
    assert (await http.get("/sandbox/settings")).json() == before


@pytest.mark.parametrize(("peer", "status"), [
    ("127.0.0.1", 200), ("127.8.9.10", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("10.0.0.5", 403),
    ("::ffff:10.0.0.5", 403), ("fe80::1", 403), ("localhost.evil.example", 403), ("", 403),
])  # fmt: skip
async def test_only_the_local_machine_can_use_the_control_api(peer: str, status: int) -> None:
    """A client on another machine can make exchanges, but cannot use the control API."""
    sandbox = create_sandbox([oauth_client()], base_url="http://127.0.0.1:1")
    transport = httpx2.ASGITransport(sandbox, client=(peer, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:9000") as http:
        assert (await http.get("/sandbox/health")).status_code == status
        assert (await http.post("/ims/token/v3", data=form())).status_code == 200


@pytest.mark.parametrize(("headers", "status"), [
    ({}, 201), ({"Host": "127.0.0.1:9000"}, 201), ({"Host": "[::1]:9000"}, 201), ({"Host": "evil.example"}, 403),
    ({"Host": "localhost.evil.example"}, 403), ({"Host": "evil.example:80@localhost"}, 403),
    ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Host": "["}, 403),
])  # fmt: skip
async def test_no_web_page_can_use_the_control_api(headers: dict[str, str], status: int) -> None:
    """A page in a local browser cannot use the control API, even by DNS rebinding."""
    sandbox = create_sandbox([oauth_client()], base_url="http://127.0.0.1:1")
    transport = httpx2.ASGITransport(sandbox, client=("127.0.0.1", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:9000") as http:
        order = await http.post("/sandbox/faults", content=b'{"kind": "hang"}', headers=headers)
        assert order.status_code == status
        assert len(sandbox.state.faults.all()) == (status == 201)


async def test_a_thousand_exchanges_at_once_are_all_answered(ims: RunningSandbox) -> None:
    """Each of 1,000 concurrent connections gets its own token."""
    body = urlencode(form()).encode()
    head = (
        f"POST /ims/token/v3 HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    barrier = asyncio.Barrier(1000)

    async def exchanged() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(ims.base_url.rpartition(":")[2]))
        await barrier.wait()
        writer.write(head.encode() + body)
        answer = await reader.read()
        writer.close()
        return answer

    answers = await asyncio.gather(*(exchanged() for _ in range(1000)))
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    assert len({answer.rpartition(b"\r\n")[2] for answer in answers}) == 1000
