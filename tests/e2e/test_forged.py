"""Who is refused, and how: forged credentials, forbidden orgs, and bytes that no client library would send."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from tests.support.fleet import CALLER, Fleet
from tests.support.forged import Forged, forged_credentials
from tests.support.issuer import LocalIssuer, loopback_server
from tests.support.replica import FORM, BrokerProcess
from tests.support.tenants import Tenant
from tests.support.waiting import until_answered
from tests.support.wire import Reply, exchange, request_bytes

UNKNOWN_ORG = "FFFFFFFFFFFFFFFFFFFFFFFF@AdobeOrg"
LONGEST = 16 * 1024
"""Bytes. A longer Authorization header may be refused before it is parsed."""

_AT_ONCE = 20


async def test_every_forged_credential_gets_the_same_401(fleet: Fleet, issuer: LocalIssuer) -> None:
    """No forged credential is accepted or gets a reason; none causes an exchange, or a request to where it points."""
    tenant, replica = fleet.tenant(), fleet.replicas[0]
    good = await replica.token(tenant.org, key=issuer.token())
    assert good.status == 200, "the issuer's own token must be good, or the forged ones prove nothing"
    with loopback_server() as trap:
        forgeries = forged_credentials(issuer, time.time(), trap.url, fleet.key)
        assert len(forgeries) > 100
        replies = await _all(replica, tenant, forgeries)
        assert trap.count == 0
    wrong = {
        forged.name: (reply.status, reply.body)
        for forged, reply in zip(forgeries, replies, strict=True)
        if not _is_refused(forged, reply)
    }
    assert wrong == {}
    ordinary = [reply for reply in replies if reply.status == 401 and reply.header("X-Request-Id")]
    assert len({_constant(reply) for reply in ordinary}) == 1
    assert len(ordinary) > 100
    assert len(fleet.exchanges(tenant)) == 1


async def _all(replica: BrokerProcess, tenant: Tenant, forgeries: Sequence[Forged]) -> list[Reply]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(forged: Forged) -> Reply:
        data = request_bytes("GET", f"/token?org={tenant.org}", [(b"Authorization", forged.authorization)])
        async with gate:
            return await exchange(replica.port, data)

    return await asyncio.gather(*(ask(forged) for forged in forgeries))


def _is_refused(forged: Forged, reply: Reply) -> bool:
    """401 with the problem document; for what is too long or no header at all also what the HTTP parser says."""
    odd = len(forged.authorization) > LONGEST or any(byte < 0x20 or byte == 0x7F for byte in forged.authorization)
    return reply.status in ({400, 401, 431} if odd else {401})


def _constant(reply: Reply) -> tuple[object, ...]:
    """Everything of an answer but its request id and date."""
    body = {name: value for name, value in reply.json.items() if name != "request_id"}
    return (reply.but("x-request-id", "date"), json.dumps(body))


async def test_forged_clients_get_invalid_client(fleet: Fleet, issuer: LocalIssuer) -> None:
    """At `/oauth2/token` a forged secret or assertion, or another caller's name, is the same `invalid_client`."""
    tenant, replica = fleet.tenant(), fleet.replicas[0]
    other = fleet.policy.caller("other-client", {"orgs": [tenant.org]})
    assertion = {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
    forms = {
        "wrong secret": {"client_id": CALLER, "client_secret": fleet.key[:-1] + ("A" if fleet.key[-1] != "A" else "B")},
        "another caller's name": {"client_id": "export", "client_secret": fleet.key},
        "unknown caller": {"client_id": "stranger", "client_secret": other},
        "a JWT as secret": {"client_id": "export", "client_secret": issuer.token()},
        "a key as assertion": {**assertion, "client_assertion": fleet.key},
        "no credential": {"client_id": CALLER},
        "an expired assertion": {**assertion, "client_assertion": issuer.token(time.time() - 7200)},
        "an assertion of another type": {"client_assertion_type": "saml", "client_assertion": issuer.token()},
    }
    replies = {}
    for name, form in forms.items():
        body = urlencode({"grant_type": "client_credentials", "org": tenant.org, **form}).encode()
        replies[name] = await exchange(replica.port, request_bytes("POST", "/oauth2/token", [FORM], body))
    assert {name: (reply.status, reply.json["error"]) for name, reply in replies.items()} == dict.fromkeys(
        forms, (401, "invalid_client")
    )
    assert len({_constant(reply) for reply in replies.values()}) == 1
    good = urlencode(
        {"grant_type": "client_credentials", "org": tenant.org, **assertion, "client_assertion": issuer.token()}
    )
    reply = await exchange(replica.port, request_bytes("POST", "/oauth2/token", [FORM], good.encode()))
    assert reply.status == 200, reply.body


async def test_a_forbidden_org_and_an_unknown_one_look_the_same(fleet: Fleet) -> None:
    """A 403 says nothing of whether an org exists: byte-identical except the request id, warm or cold."""
    warm, cold, own = fleet.tenant(), fleet.tenant(), fleet.tenant()
    key = fleet.policy.caller("narrow", {"orgs": [own.org]})
    replica = fleet.replicas[0]

    async def is_admitted() -> bool:
        return (await replica.token(own.org, key=key)).status == 200

    await until_answered(is_admitted, 6)
    assert (await replica.token(warm.org)).status == 200
    for method, path in (("GET", "/token"), ("DELETE", "/token"), ("GET", "/headers"), ("OPTIONS", "/headers")):
        replies = [
            await replica.get(f"{path}?org={org}{more}", method=method, key=key)
            for org in (warm.org, cold.org, UNKNOWN_ORG)
            for more in ("", "&credential=second")
        ]
        assert {reply.status for reply in replies} == {403}
        texts = [reply.body.replace((reply.header("X-Request-Id") or "?").encode(), b"ID") for reply in replies]
        heads = [reply.but("date", "x-request-id") for reply in replies]
        assert len(set(texts)) == len(set(heads)) == 1
    assert fleet.exchanges(cold) == []


async def test_hostile_bytes_are_never_a_server_error(fleet: Fleet) -> None:
    """Oversized, repeated, malformed and strange requests are refused with a 4xx; the replica goes on serving."""
    tenant, replica = fleet.tenant(), fleet.replicas[0]
    target, good = f"/token?org={tenant.org}", replica.bearer()
    hostile: dict[str, bytes] = {
        "two Authorization headers": request_bytes("GET", target, [good, good]),
        "an empty and a good one": request_bytes("GET", target, [(b"Authorization", b""), good]),
        "a good and a forged one": request_bytes("GET", target, [good, (b"authorization", b"Bearer x")]),
        "a folded header": request_bytes("GET", target, [(b"Authorization", good[1][:20] + b"\r\n " + good[1][20:])]),
        "a blank before the colon": request_bytes("GET", target, [(b"Authorization ", good[1])]),
        "no Host": request_bytes("GET", "/token", host=None),
        "a strange Host": request_bytes("GET", "/token", host=b'evil.test/../"><script>'),
        "two Hosts": request_bytes("GET", "/token", [(b"Host", b"evil.test")]),
        "two lengths": request_bytes("POST", "/token/report", [good, (b"Content-Length", b"1")], b"{}"),
        "a negative length": request_bytes("POST", "/token/report", [good, (b"Content-Length", b"-1")]),
        "a body of 1 MB": request_bytes("POST", f"/token/report?org={tenant.org}", [good], b"x" * 1_000_000),
        "a form of 1 MB": request_bytes("POST", "/oauth2/token", [FORM], b"a=" + b"x" * 1_000_000),
        "deep JSON": request_bytes("POST", f"/token/report?org={tenant.org}", [good], b"[" * 60_000),
        "a query of 100 kB": request_bytes("GET", f"/token?org={'x' * 100_000}", [good]),
        "a path of 100 kB": request_bytes("GET", f"/{'x' * 100_000}", [good]),
        "10,000 parameters": request_bytes("GET", "/token?" + "&".join(f"a{n}=1" for n in range(10_000)), [good]),
        "10,000 headers": request_bytes("GET", target, [(b"X-%d" % n, b"1") for n in range(10_000)]),
        "org given twice": request_bytes("GET", f"{target}&org={tenant.org}", [good]),
        "an org with a path": request_bytes("GET", f"/token?org={quote('../../sys/seal-status', safe='')}", [good]),
        "a NUL in the org": request_bytes("GET", f"/token?org={tenant.org}%00", [good]),
        "bytes that are no UTF-8": request_bytes("GET", "/token?org=%ff%fe", [good]),
        "an absolute target": request_bytes("GET", f"http://evil.test{target}"),
        "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "another version": b"GET /token HTTP/9.9\r\nHost: x\r\n\r\n",
    }
    for size in (LONGEST + 1, 70_000, 1_000_000):
        hostile[f"{size} bytes of Authorization"] = request_bytes(
            "GET", target, [(b"Authorization", b"Bearer " + b"x" * size)]
        )
    for byte in (*range(0x20), 0x7F, 0x80, 0xFF):
        if byte not in b"\r\n":
            value = b"Bearer x" + bytes([byte]) + b"y"
            hostile[f"byte {byte:#x} in Authorization"] = request_bytes("GET", target, [(b"Authorization", value)])
    for method in ("TRACE", "CONNECT", "PROPFIND", "BREW", "get", "PRI", "M-SEARCH", "X" * 5000):
        hostile[f"method {method[:20]}"] = request_bytes(method, target)
    for method in ("TRACE", "PROPFIND", "PATCH", "PUT", "OPTIONS"):
        hostile[f"method {method} with a credential"] = request_bytes(method, target, [good])

    statuses = {name: await _status_of(replica, data) for name, data in hostile.items()}
    assert {name: status for name, status in statuses.items() if not 400 <= status < 500} == {}
    assert (await replica.token(tenant.org)).status == 200
    log = replica.process.stderr.read_text()
    assert "unexpected error" not in log
    assert "Traceback" not in log


async def _status_of(replica: BrokerProcess, data: bytes) -> int:
    """The status; a connection that is closed without any counts as refused."""
    try:
        return (await exchange(replica.port, data, bodiless=data.startswith(b"HEAD"))).status
    except ConnectionError:
        return 499


async def test_request_ids_are_kept_only_when_sane(fleet: Fleet) -> None:
    """A caller's request id comes back, unless it could break a header or a log line; then it gets a new one."""
    replica = fleet.replicas[0]
    sane = await replica.get("/livez", headers=[(b"X-Request-Id", b"abc-123_x.y")])
    assert sane.header("X-Request-Id") == "abc-123_x.y"
    seen = Counter[str]()
    for odd in (b"", b"a b", b'"}{"audit":1', b"x" * 65, b"\xc3\xa9", b"a\tb", b"%0d%0a"):
        reply = await replica.get(f"/token?org={UNKNOWN_ORG}", headers=[(b"X-Request-Id", odd)])
        fresh = reply.header("X-Request-Id")
        assert fresh
        assert fresh.encode() != odd
        assert reply.json["request_id"] == fresh
        seen[fresh] += 1
    assert set(seen.values()) == {1}
