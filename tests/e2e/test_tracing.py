"""Traces of a real broker over real Redis, Vault and sandbox, as a collector sees them."""

from __future__ import annotations

import asyncio
import http.client
import json
import secrets
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.collector import BATCHES_AT_ONCE, Collector, Span, collector
from tests.support.fleet import Fleet, PolicyDocument
from tests.support.http_stand_in import ReceivedRequest, Script, ScriptedReply, stand_in
from tests.support.processes import run_cli, running_cli
from tests.support.replica import BrokerProcess
from tests.support.tenants import Tenant
from tests.support.waiting import until, until_answered
from tests.support.wire import Header, exchange, request_bytes

IMS = "exchange"
MALFORMED = [
    b"",
    b"00",
    b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-" + b"0" * 16 + b"-01",
    b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
    b"00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
    b"\xff\xfe\x00"[:2] * 20,
    b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-" + b"a" * 4000,
]


@pytest.fixture
def sink() -> Iterator[Collector]:
    """A collector that takes everything."""
    with collector() as running:
        yield running


def traced(fleet: Fleet, sink: Collector, **settings: str) -> BrokerProcess:
    """A replica that sends its spans to `sink`."""
    fleet.env = sink.env
    [replica] = fleet.start(1, TRACING="otlp", **settings)
    return replica


def from_caller(sampled: bool = True) -> tuple[str, str, Header]:
    """Trace and span of a caller, and the header that says so."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, (b"traceparent", f"00-{trace}-{span}-0{int(sampled)}".encode())


def forwarding(base_url: str) -> Script:
    """A line to the sandbox on which the exchanges can be seen."""

    def script(seen: ReceivedRequest) -> ScriptedReply:
        connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=10)
        try:
            kept = {name: seen.headers[name] for name in ("content-type", "accept") if name in seen.headers}
            connection.request(seen.method, seen.path, seen.body, kept)
            answer = connection.getresponse()
            return ScriptedReply(answer.status, answer.read(), {"X-Debug-Id": "debug-7"})
        finally:
            connection.close()

    return script


async def test_a_trace_goes_from_the_caller_to_redis_vault_and_ims(own_fleet: Fleet, sink: Collector) -> None:
    """A cold request is one trace of the caller's, each span where its work was done; IMS and Vault get its ids."""
    own_fleet.vault.write("sys/config/auditing/request-headers/traceparent", hmac=False)
    with stand_in(forwarding(own_fleet.sandbox.base_url)) as ims:
        replica = traced(own_fleet, sink, IMS_BASE_URLS=ims.url)
        tenant = Tenant(ims.url)
        own_fleet.store(tenant)
        own_fleet.register(tenant)
        trace, caller, header = from_caller()
        tracestate = (b"tracestate", b"vendor=secret-state")
        reply = await replica.get(f"/token?org={tenant.org}", headers=[header, tracestate, (b"baggage", b"k=v")])
        assert reply.status == 200, reply.body
    spans = sink.trace(trace, count=8)

    server, vend, flight = spans["GET /token"], spans["vend"], spans["flight"]
    assert (server.kind, server.parent) == ("SERVER", caller)
    assert (vend.parent, flight.parent) == (server.id, vend.id)
    calls = ("exchange", "vault read", "redis read", "redis acquire", "redis store")
    assert {name: (spans[name].kind, spans[name].parent) for name in calls} == dict.fromkeys(
        calls, ("CLIENT", flight.id)
    )
    assert server.begin <= vend.begin <= flight.begin <= spans[IMS].begin <= spans[IMS].end <= flight.end <= server.end
    _attributes_tell_what_they_may(spans, reply.header("x-request-id"))
    [exchanged] = ims.seen
    assert exchanged.headers["traceparent"] == f"00-{trace}-{spans[IMS].id}-01"
    assert not {"tracestate", "baggage"} & set(exchanged.headers)
    path = f"secret/data/ims/{tenant.org}/default"
    [read] = [entry["request"] for entry in own_fleet.vault.requests(path) if entry["request"]["operation"] == "read"]
    assert read["headers"]["traceparent"] == [f"00-{trace}-{spans['vault read'].id}-01"]
    assert tenant.org[:24].encode() not in sink.raw
    await until(lambda: _traces_in_the_audit_log(replica) == [trace], 10)


def _traces_in_the_audit_log(replica: BrokerProcess) -> list[object]:
    return [line.get("trace_id") for line in replica.audit_lines() if line["event"] == "request"]


def _attributes_tell_what_they_may(spans: dict[str, Span], request_id: str | None) -> None:
    assert spans["GET /token"].attributes == {
        "http.request.method": "GET",
        "http.route": "/token",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "ims_token_broker.request_id": request_id,
        "ims_token_broker.outcome": "vended",
        "ims_token_broker.action": "vend",
        "ims_token_broker.caller": "tester",
        "ims_token_broker.tier": "exchange",
    }
    assert spans[IMS].attributes == {
        "ims_token_broker.kind": "oauth_server_to_server",
        "ims_token_broker.outcome": "issued",
        "ims.debug_id": "debug-7",
    }
    assert spans["redis read"].attributes == {
        "db.system.name": "redis",
        "db.operation.name": "read",
        "ims_token_broker.outcome": "ok",
    }


async def test_warm_refused_and_unknown(own_fleet: Fleet, sink: Collector) -> None:
    """A warm request is one span, a refused one names its code, and an unknown path has no details."""
    replica, tenant = traced(own_fleet, sink, TRACING_ORGS="true"), own_fleet.tenant()
    assert (await replica.get(f"/token?org={tenant.org}")).status == 200
    warm, _, header = from_caller()
    assert (await replica.get(f"/token?org={tenant.org}", headers=[header])).status == 200
    refused, _, header = from_caller()
    await replica.get(f"/token?org={tenant.org}", key="itb_none_none", headers=[header])
    unknown, _, header = from_caller()
    await replica.get("/canary-path?canary=1", headers=[header])
    await replica.get("/livez")
    broken, _, header = from_caller()
    own_fleet.sandbox.put_client({**(other := own_fleet.tenant()).client(), "client_secrets": ["p8e-another-one"]})
    assert (await replica.get(f"/token?org={other.org}", headers=[header])).status == 502

    spans = sink.trace(broken, count=8)
    assert not spans[IMS].failed, "IMS is up: it answered, and refused"
    assert spans[IMS].attributes["ims.error_code"] == "invalid_client"
    assert spans["flight"].attributes["error.type"] == spans["vend"].attributes["error.type"] == "credential_rejected"
    assert spans[IMS].attributes["ims.org_id"] == spans["GET /token"].attributes["ims.org_id"] == other.org
    assert list(sink.trace(warm)) == ["GET /token"]
    assert sink.trace(warm)["GET /token"].attributes["ims_token_broker.tier"] == "memory"
    [span] = sink.trace(refused).values()
    assert (span.attributes["ims_token_broker.outcome"], span.failed) == ("unauthenticated", False)
    assert list(sink.trace(unknown)) == ["GET"]
    assert b"canary" not in sink.raw
    assert not [span for span in sink.spans if "livez" in str(span)]
    assert {resource["service.name"] for resource in sink.resources} == {"ims-token-broker"}


async def test_requests_that_wait_for_an_in_flight_call_are_linked_to_it(own_fleet: Fleet, sink: Collector) -> None:
    """Of many requests for one token the first has the in-flight call in its trace, and the others link to it."""
    replica, tenant = traced(own_fleet, sink), own_fleet.tenant()
    fault = own_fleet.sandbox.fault("latency", seconds=0.5, client_id=tenant.client_id)
    headers = [from_caller()[2] for _ in range(5)]
    target = f"/token?org={tenant.org}"
    replies = await asyncio.gather(*[replica.get(target, headers=[header]) for header in headers])
    assert {reply.status for reply in replies} == {200}
    assert own_fleet.sandbox.hits(fault) == 1

    vends = sink.wait(lambda span: span.name == "vend", 5)
    [flight] = sink.wait(lambda span: span.name == "flight")
    assert sorted(vend.links for vend in vends) == [(), *[(flight.id,)] * 4]
    assert [vend.id for vend in vends if not vend.links] == [flight.parent]


async def test_a_background_refresh_is_a_trace_of_its_own(own_fleet: Fleet, sink: Collector) -> None:
    """A background refresh is in no caller's trace, and links to the request that set it off."""
    replica, tenant = traced(own_fleet, sink, KEEP_WARM="0s"), own_fleet.tenant(token_lifetime=6)
    await replica.token(tenant.org)

    async def refreshed() -> bool:
        await replica.get(f"/token?org={tenant.org}", headers=[from_caller()[2]])
        return any(span.name == "refresh" for span in sink.spans)

    await until_answered(refreshed, 30, every=0.15)
    refresh = next(span for span in sink.spans if span.name == "refresh")
    [asked] = sink.wait(lambda span: span.id == refresh.links[0])
    assert asked.name == "GET /token"
    assert refresh.parent == ""
    assert asked.trace != refresh.trace
    inside = sink.wait(lambda span: span.trace == refresh.trace and span.name == IMS)
    assert [span.parent for span in inside] == [refresh.id]


async def test_a_refresh_without_a_request_is_a_trace_too(own_fleet: Fleet, sink: Collector) -> None:
    """A token that is kept warm is refreshed in a trace that links to nothing."""
    replica, tenant = traced(own_fleet, sink), own_fleet.tenant(token_lifetime=6)
    await replica.token(tenant.org)
    [refresh, *_] = sink.wait(lambda span: span.name == "refresh", within=30)
    assert (refresh.parent, refresh.links) == ("", ())
    inside = sink.wait(lambda span: span.trace == refresh.trace and span.name == IMS)
    assert [span.parent for span in inside] == [refresh.id]


@pytest.mark.parametrize("value", MALFORMED, ids=range(len(MALFORMED)))
async def test_malformed_traceparent(value: bytes, traced_replica: tuple[BrokerProcess, str, Collector]) -> None:
    """A header that is not a traceparent is as good as none: the request begins a trace of its own."""
    replica, org, sink = traced_replica
    before = len(sink.spans)
    reply = await replica.get(f"/token?org={org}", headers=[(b"traceparent", value)])
    assert reply.status == 200
    asked = reply.header("x-request-id")
    [span] = sink.wait(lambda span: span.attributes.get("ims_token_broker.request_id") == asked)
    assert span.parent == ""
    assert span.trace not in {"4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32}
    assert before < len(sink.spans)


@pytest.fixture(scope="module")
def traced_replica(
    backends: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[BrokerProcess, str, Collector]]:
    """One replica for many requests that differ only in a header."""
    fleet = Fleet(backends, tmp_path_factory.mktemp("traced"))  # type: ignore[arg-type]  # a fixture of conftest
    with collector() as sink:
        try:
            yield traced(fleet, sink), fleet.tenant().org, sink
        finally:
            fleet.close()


async def test_two_traceparents_are_none(traced_replica: tuple[BrokerProcess, str, Collector]) -> None:
    """Of two headers neither is believed; and a caller that does not sample is heeded."""
    replica, org, sink = traced_replica
    headers = [from_caller()[2], from_caller()[2]]
    reply = await replica.get(f"/token?org={org}", headers=headers)
    asked = reply.header("x-request-id")
    [span] = sink.wait(lambda span: span.attributes.get("ims_token_broker.request_id") == asked)
    assert span.parent == ""
    unsampled, _, header = from_caller(sampled=False)
    await replica.get(f"/token?org={org}", headers=[header])
    last = await replica.get(f"/token?org={org}")
    asked = last.header("x-request-id")
    sink.wait(lambda span: span.attributes.get("ims_token_broker.request_id") == asked)
    assert not [span for span in sink.spans if span.trace == unsampled]


async def test_secrets_and_orgs_are_in_no_span_and_no_log(own_fleet: Fleet, sink: Collector) -> None:
    """Good and failing requests, on DEBUG: no key, secret, token, org, header or query is in a span or a log line."""
    own_fleet.env = {**sink.env, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=cAnArY-collector-key"}
    [replica] = own_fleet.start(1, TRACING="otlp", LOG_LEVEL="DEBUG")
    hidden = [own_fleet.key, own_fleet.vault_token, own_fleet.redis.password, "cAnArY"]
    orgs: list[str] = []
    for kind in ("jwt", "oauth_server_to_server"):
        for fault in (None, "garbage", "html", "wrong_unit", "other_org", "empty"):
            tenant = own_fleet.tenant(kind=kind, client_secrets=(f"p8e-{secrets.token_hex(8)}-cAnArY",))
            if fault is not None:
                own_fleet.sandbox.fault(fault, client_id=tenant.client_id)
            reply = await replica.token(tenant.org)
            orgs.append(tenant.org)
            hidden += tenant.client_secrets
            if reply.status == 200:
                hidden += [reply.json["access_token"], reply.json["access_token"].split(".")[2]]
    await replica.get("/token?org=cAnArY&cAnArY=1", headers=[(b"x-other", b"cAnArY")])
    form = b"grant_type=client_credentials&client_id=cAnArY&client_secret=cAnArY"
    await exchange(replica.port, request_bytes("POST", "/oauth2/token?cAnArY", [], form))
    replica.process.terminate()
    assert await asyncio.to_thread(replica.process.ended) == 0

    assert {span.name for span in sink.spans} >= {"vend", IMS, "vault read", "redis read", "POST /oauth2/token"}
    assert [secret for secret in hidden if secret.encode() in sink.raw] == []
    assert [org for org in orgs if org[:24].encode() in sink.raw] == []
    log = replica.process.stderr.read_bytes()
    assert [secret for secret in hidden if secret.encode() in log] == []
    assert {seen.headers["api-key"] for seen in sink.requests} == {"cAnArY-collector-key"}
    lines = [json.loads(line) for line in log.splitlines() if line.startswith(b"{")]
    failed = next(line for line in lines if line["message"] == "no token could be minted")
    assert {"request_id", "trace_id", "span_id"} <= set(failed)
    assert failed["span_id"] in {span.id for span in sink.spans if span.name == "flight"}


async def _ended(replica: BrokerProcess) -> float:
    began = asyncio.get_running_loop().time()
    replica.process.terminate()
    assert await asyncio.to_thread(replica.process.ended) == 0
    return asyncio.get_running_loop().time() - began


async def test_the_end_sends_what_waits(own_fleet: Fleet, sink: Collector) -> None:
    """Spans that wait for the next batch are sent before the process ends."""
    own_fleet.env = {**sink.env, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    [replica] = own_fleet.start(1, TRACING="otlp")
    await replica.token(own_fleet.tenant().org)
    assert sink.spans == []
    await _ended(replica)
    assert "GET /token" in {span.name for span in sink.spans}


@pytest.mark.parametrize("trouble", ["away", "hangs", "500"])
async def test_a_collector_in_trouble_costs_only_spans(own_fleet: Fleet, trouble: str) -> None:
    """Whatever the collector does, requests are answered, lost spans are counted, and one line reports the outage."""
    released = threading.Event()

    def answer() -> ScriptedReply:
        if trouble == "hangs":
            released.wait(60)
        return ScriptedReply(500, b"cAnArY")

    with collector(answer) as sink:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"} if trouble == "away" else sink.env
        queue = {"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16"}
        own_fleet.env = {**endpoint, **BATCHES_AT_ONCE, **queue, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        [replica] = own_fleet.start(1, TRACING="otlp", LOG_LEVEL="DEBUG")
        tenant = own_fleet.tenant()
        try:
            replies = [await replica.token(tenant.org) for _ in range(300)]
            assert {reply.status for reply in replies} == {200}
            assert max(reply.seconds for reply in replies[1:]) < 1.0
            metrics = (await replica.get("/metrics")).body.decode()
            lost = next(line for line in metrics.splitlines() if line.startswith("ims_token_broker_spans_lost_total "))
            assert float(lost.split()[1]) >= 16
            assert await _ended(replica) < 6.0
        finally:
            released.set()
    log = replica.process.stderr.read_text()
    assert log.count("spans are lost") == 1
    assert "cAnArY" not in log
    assert "127.0.0.1:1" not in log.replace(f"127.0.0.1:{replica.port}", "")


async def test_without_the_extra_serve_says_what_to_install(tmp_path: Path) -> None:
    """Without the extra `serve` names the variable and what to install; and if tracing is off it is not needed."""
    PolicyDocument(tmp_path / "policy.yaml").caller("tester", {"orgs": ["*"]})
    settings = {
        "BROKER_POLICY_FILE": str(tmp_path / "policy.yaml"),
        "BROKER_CREDENTIAL_STORE": "directory",
        "BROKER_CREDENTIAL_DIR": str(tmp_path),
        "BROKER_PORT": "0",
    }
    blocked = (
        "import sys; sys.modules.update(dict.fromkeys(('opentelemetry.sdk', 'opentelemetry.exporter')));"
        "from app.cli.__main__ import main; main()"
    )
    program = (sys.executable, "-c", blocked)
    ended = await run_cli("serve", env={**settings, "BROKER_TRACING": "otlp"}, program=program)
    assert ended.code == 2
    remedy = "needs OpenTelemetry (the extra otel): pip install -r requirements/otel.lock."
    assert ended.stderr == f"Error: BROKER_TRACING: {remedy}\n"
    wrong = {**settings, "BROKER_TRACING": "otlp", "OTEL_BSP_MAX_QUEUE_SIZE": "0"}
    ended = await run_cli("serve", env=wrong)
    assert (ended.code, ended.stderr.count("\n")) == (2, 1)
    assert "BROKER_TRACING: an OTEL_ variable" in ended.stderr
    async with running_cli("serve", env=settings, program=program) as cli:
        await cli.said("listening on", stream="stderr")
        assert (await cli.stop()).code == 0


def _told(replica: BrokerProcess) -> list[dict[str, object]]:
    """The lines of the log from INFO on."""
    lines = [line for line in replica.process.stderr.read_text().splitlines() if line.startswith("{")]
    return [line for line in map(json.loads, lines) if line["level"] != "debug"]


async def test_a_request_is_logged_only_in_the_audit_log(own_fleet: Fleet, sink: Collector) -> None:
    """100 requests leave at most the bounded lines about refused credentials; failing ones a line per exchange."""
    replica, tenant = traced(own_fleet, sink), own_fleet.tenant()
    for name in ("vault", "redis"):  # each start logs these two lines, some time after it listens
        replica.process.said(rf'"dependency":"{name}","ready":true')
    before = len(_told(replica))
    for _ in range(11):
        cold = own_fleet.tenant()
        await replica.token(cold.org)
        for target in (f"/token?org={tenant.org}", f"/headers?org={tenant.org}", "/nothing", "/livez", "/metrics"):
            await replica.get(target)
        await replica.get(f"/token?org={tenant.org}", key="itb_none_none")
        await replica.get("/token?org=bad")
        await replica.get(f"/token?org={secrets.token_hex(12).upper()}@AdobeOrg")
        await replica.oauth2(tenant.org, "tester", "wrong")
    refused = _told(replica)[before:]
    assert {line["message"] for line in refused} <= {"caller credential refused"}
    assert len(refused) <= 20  # 10 a minute for each of the two reasons

    before += len(refused)
    broken = own_fleet.tenant(known_secrets=("p8e-another-secret-than-stored",))
    assert {(await replica.token(broken.org)).status for _ in range(30)} == {502}
    told = _told(replica)[before:]
    exchanges = len(own_fleet.exchanges(broken))
    assert exchanges < 5
    assert [line["message"] for line in told].count("exchange finished") == exchanges
    assert {line["level"] for line in told} == {"warning"}
    await until(lambda: len([line for line in replica.audit_lines() if line["event"] == "request"]) >= 100)
