"""Endpoints that need no authentication: liveness, readiness, metrics and the token endpoint's metadata."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from app.api.metadata import metadata_routes
from app.domain.dependency_errors import CredentialStoreError, IdentityUnavailableError, ImsUnavailableError
from app.domain.events import RequestDecided
from tests.factories import ORG, OTHER_ORG
from tests.support.api_in_memory import ApiInMemory
from tests.support.asgi_client import Header, send

DISCOVERY = "/.well-known/oauth-authorization-server"
OPEN = ["/livez", "/readyz", "/metrics", "/openapi.json", DISCOVERY]


@pytest.fixture
def api() -> ApiInMemory:
    """The API, ready."""
    api = ApiInMemory()
    api.readiness.ready = True
    return api


@pytest.mark.parametrize("path", OPEN)
async def test_no_credential_is_needed_and_a_bad_one_is_ignored(api: ApiInMemory, path: str) -> None:
    """Probes, scrapes and discovery are not requests of a caller, and not decisions about a token."""
    bad: list[Header] = [("Authorization", "Bearer nonsense"), ("Authorization", "Basic !")]
    host = ("Host", "broker.test")
    for headers in ([], bad):
        assert (await api.get(path, host, *headers, caller=None)).status == 200
    assert (await api.get(f"{path}?anything=1&anything=2", host, caller=None)).status == 200
    assert api.sink.of(RequestDecided) == []


async def test_a_replica_is_ready_only_between_its_start_and_its_end() -> None:
    """Before and after, /readyz is 503 `not_ready` with Retry-After; /livez is always 200."""
    api = ApiInMemory()
    for ready in (False, True, False):
        api.readiness.ready = ready
        answer = await api.get("/readyz", caller=None)
        if ready:
            assert (answer.status, answer.json) == (200, {"status": "ready"})
        else:
            assert (answer.status, answer.code, answer.header("retry-after")) == (503, "not_ready", "1")
            assert answer.json["retryable"] is True
        assert answer.header("cache-control") == "no-store"
        assert (await api.get("/livez", caller=None)).json == {"status": "ok"}


async def test_no_outage_of_a_dependency_makes_a_replica_unready(api: ApiInMemory) -> None:
    """With Vault, IMS, Redis and the issuer down, and a tenant that just failed, it is still alive and ready."""
    api.world.store.failure = CredentialStoreError("Vault is sealed.")
    api.world.exchanger.failures |= dict.fromkeys((ORG, OTHER_ORG), ImsUnavailableError("down"))
    api.verifier.failure = IdentityUnavailableError("no keys")
    api.world.redis_down()
    assert (await api.get()).status == 503
    assert [(await api.get(path, caller=None)).status for path in ("/livez", "/readyz", "/metrics")] == [200] * 3


async def test_metrics_are_prometheus_text(api: ApiInMemory) -> None:
    """The body is the rendered registry, with the media type that Prometheus expects."""
    answer = await api.get("/metrics", caller=None)
    assert answer.body == b"# none\n"
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.header("cache-control") == "no-store"


async def test_discovery_describes_the_token_endpoint(api: ApiInMemory) -> None:
    """RFC 8414: the issuer is the base URL of the document, with the endpoint and what it actually accepts."""
    answer = await api.get(DISCOVERY, ("Host", "broker.test:8080"), caller=None)
    assert answer.header("content-type") == "application/json"
    document = answer.json
    assert document["issuer"] == "http://broker.test:8080"
    assert document["token_endpoint"] == "http://broker.test:8080/oauth2/token"
    assert document["grant_types_supported"] == ["client_credentials"]
    assert document["response_types_supported"] == []
    methods = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
    assert document["token_endpoint_auth_methods_supported"] == methods
    assert "none" not in document["token_endpoint_auth_signing_alg_values_supported"]


async def test_the_public_url_overrides_the_host() -> None:
    """If the operator sets the public URL, no header of a request can change it."""
    app = FastAPI()
    app.include_router(metadata_routes("https://broker.example.com/ims"))
    answer = await send(app, "GET", DISCOVERY, [("Host", "evil.test"), ("X-Forwarded-Host", "evil.test")])
    assert answer.json["issuer"] == "https://broker.example.com/ims"
    assert answer.json["token_endpoint"] == "https://broker.example.com/ims/oauth2/token"
    assert b"evil" not in answer.body


@pytest.mark.parametrize(
    "host", ["broker", "ims_broker:8080", "_x.y_", "broker.example.com", "10.0.0.1:8080", "[2001:db8::1]:8080", "[::1]"]
)
async def test_a_sane_host_is_the_base(api: ApiInMemory, host: str) -> None:
    """A name, an address and an IPv6 address in brackets are accepted, with or without a port."""
    answer = await api.get(DISCOVERY, ("Host", host), ("X-Forwarded-Host", "evil.test"), caller=None)
    assert answer.json["token_endpoint"] == f"http://{host}/oauth2/token"


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        ["a", "b"],
        [""],
        ["evil.test/path"],
        ["user@evil.test"],
        ["evil.test:80:80"],
        ["evil.test:port"],
        ["evil.test\n"],
        ['evil.test"'],
        ["evil.test?x"],
        ["evil.test#x"],
        ["év.il"],
        ["e" * 254],
        ["::1"],
        ["[evil.test]"],
    ],
)
async def test_an_odd_host_is_refused(api: ApiInMemory, hosts: list[str]) -> None:
    """No Host, two, or one that is not a name or an address, is 400 for GET and HEAD, and is not repeated."""
    headers = [("Host", host) for host in hosts]
    answer = await api.get(DISCOVERY, *headers, caller=None)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert b"localhost" not in answer.body
    assert b"evil" not in answer.body
    assert (await api.ask("HEAD", DISCOVERY, *headers, caller=None)).status == 400


async def test_a_public_url_needs_no_host_and_is_found_by_its_path() -> None:
    """With a public URL any Host is accepted; with a path, RFC 8414 section 3.1's place is answered too."""
    app = FastAPI()
    app.include_router(metadata_routes("https://broker.example.com/ims"))
    for path in (DISCOVERY, f"{DISCOVERY}/ims"):
        for headers in ([], [("Host", "evil test")]):
            answer = await send(app, "GET", path, headers)
            assert (answer.status, answer.json["issuer"]) == (200, "https://broker.example.com/ims")
    assert (await send(app, "HEAD", f"{DISCOVERY}/ims", [])).status == 200
    assert (await send(app, "GET", f"{DISCOVERY}/other", [])).status == 404
