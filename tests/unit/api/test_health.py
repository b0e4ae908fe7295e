"""What operators and tools ask without a credential: life, readiness, metrics, and the token endpoint's description."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from app.api.metadata import metadata_routes
from app.domain.errors import CredentialStoreError, IdentityUnavailableError, ImsUnavailableError
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
async def test_no_credential_is_needed_and_a_bad_one_does_no_harm(api: ApiInMemory, path: str) -> None:
    """A probe, a scraper and a client that looks around are nobody's callers, and no decision on a token."""
    bad: list[Header] = [("Authorization", "Bearer nonsense"), ("Authorization", "Basic !")]
    for headers in ([], bad):
        assert (await api.get(path, *headers, caller=None)).status == 200
    assert (await api.get(f"{path}?anything=1&anything=2", caller=None)).status == 200
    assert api.sink.of(RequestDecided) == []


async def test_a_replica_is_ready_only_between_its_start_and_its_end() -> None:
    """Before and after, /readyz is 503 `not_ready` with Retry-After; /livez is 200 all the while."""
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


async def test_no_outage_of_anything_takes_a_replica_out(api: ApiInMemory) -> None:
    """Vault, IMS, Redis and the issuer are down, and a tenant has just failed: still alive and ready."""
    api.world.store.failure = CredentialStoreError("Vault is sealed.")
    api.world.exchanger.failures |= dict.fromkeys((ORG, OTHER_ORG), ImsUnavailableError("down"))
    api.verifier.failure = IdentityUnavailableError("no keys")
    api.world.redis_away()
    assert (await api.get()).status == 503
    assert [(await api.get(path, caller=None)).status for path in ("/livez", "/readyz", "/metrics")] == [200] * 3


async def test_metrics_are_prometheus_text(api: ApiInMemory) -> None:
    """The body is what the registry renders, under the media type that Prometheus asks for."""
    answer = await api.get("/metrics", caller=None)
    assert answer.body == b"# none\n"
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.header("cache-control") == "no-store"


async def test_discovery_describes_the_token_endpoint(api: ApiInMemory) -> None:
    """RFC 8414: the issuer is where the document was found, the endpoint below it, with what it really accepts."""
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


async def test_the_public_url_wins_over_the_host() -> None:
    """Where the operator says how callers see the broker, no header of a request can say otherwise."""
    app = FastAPI()
    app.include_router(metadata_routes("https://broker.example.com/ims"))
    answer = await send(app, "GET", DISCOVERY, [("Host", "evil.test"), ("X-Forwarded-Host", "evil.test")])
    assert answer.json["issuer"] == "https://broker.example.com/ims"
    assert answer.json["token_endpoint"] == "https://broker.example.com/ims/oauth2/token"
    assert b"evil" not in answer.body


@pytest.mark.parametrize("host", ["broker", "broker.example.com", "10.0.0.1:8080", "[2001:db8::1]:8080", "[::1]"])
async def test_a_sane_host_is_the_base(api: ApiInMemory, host: str) -> None:
    """A name, an address, an IPv6 address in brackets, each with or without a port."""
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
async def test_a_strange_host_is_not_repeated(api: ApiInMemory, hosts: list[str]) -> None:
    """None, two, or one that is no host: the document falls back to localhost instead of carrying it on."""
    answer = await api.get(DISCOVERY, *(("Host", host) for host in hosts), caller=None)
    assert answer.json["token_endpoint"] == "http://localhost/oauth2/token"
    assert answer.json["issuer"] == "http://localhost"
