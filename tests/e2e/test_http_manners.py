"""Requests as real clients, probes and gateways send them, on a real process."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.support.broker_without_vault import BrokerWithoutVault, broker_without_vault
from tests.support.fleet import CALLER
from tests.support.replica import FORM
from tests.support.wire import exchange, request_bytes

DISCOVERY = "/.well-known/oauth-authorization-server"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerWithoutVault]:
    """One broker with one tenant."""
    with broker_without_vault(tmp_path_factory.mktemp("manners"), 1) as running:
        yield running


async def test_head_has_the_headers_of_get_and_no_body(broker: BrokerWithoutVault) -> None:
    """On every path with GET, the answer to HEAD has the same status and length, and the next request is unharmed."""
    token = f"/token?org={broker.tenants[0].org}"
    assert (await broker.replica.get(token)).status == 200
    for target in (token, "/orgs", "/livez", "/readyz", "/metrics", "/openapi.json", DISCOVERY, "/token"):
        got = await broker.replica.get(target)
        head = await broker.replica.get(target, method="HEAD")
        assert (head.status, head.body, head.header("content-type")) == (got.status, b"", got.header("content-type"))


@pytest.mark.parametrize(("before", "after"), [(b"Bearer  ", b""), (b" Bearer ", b" "), (b"bearer   ", b" \t ")])
async def test_spaces_around_a_bearer_credential_are_accepted(
    broker: BrokerWithoutVault, before: bytes, after: bytes
) -> None:
    """Case B12: a trimmed value, and one or more spaces after the scheme (RFC 9110 sections 5.5 and 11.4)."""
    value = before + broker.replica.key.encode() + after
    data = request_bytes("GET", f"/token?org={broker.tenants[0].org}", [(b"Authorization", value)])
    assert (await exchange(broker.replica.port, data)).status == 200


@pytest.mark.parametrize(
    ("host", "status"), [(b"ims_broker:8080", 200), (b"a/b", 400), (b"user@a", 400), (b"a b", 400), (b"", 400)]
)
async def test_the_host_is_taken_as_sent_or_refused(broker: BrokerWithoutVault, host: bytes, status: int) -> None:
    """Case B13: a name with an underscore is used, and any other odd Host is refused instead of replaced."""
    reply = await exchange(
        broker.replica.port, b"GET " + DISCOVERY.encode() + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    )
    assert reply.status == status
    if status == 200:
        assert reply.json["token_endpoint"] == "http://ims_broker:8080/oauth2/token"
    else:
        assert reply.json["code"] == "invalid_request"


@pytest.mark.parametrize("gap", ["&", "&&&"])
async def test_empty_parts_of_a_form_and_a_query_are_skipped(broker: BrokerWithoutVault, gap: str) -> None:
    """Case B14: several ampersands, or one at the end, with two spaces after Basic."""
    org = broker.tenants[0].org
    basic = b"Basic  " + base64.b64encode(f"{CALLER}:{broker.replica.key}".encode())
    form = f"grant_type=client_credentials{gap}org={org}{gap}".encode()
    reply = await exchange(
        broker.replica.port, request_bytes("POST", "/oauth2/token", [FORM, (b"Authorization", basic)], form)
    )
    assert reply.status == 200
    assert (await broker.replica.get(f"/token?{gap}org={org}{gap}credential=default{gap}")).status == 200
