"""Vending over HTTP: the true expiry, answers that are not tokens, tenants that hang, headers not to trust."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

import pytest

from app.service.exchange_places import DEFAULT_PLACES
from tests.support.fleet import CALLER, Fleet, outcomes
from tests.support.tenants import SCOPES, claims_of, true_expiry
from tests.support.waiting import until
from tests.support.wire import Reply, exchange, request_bytes

KINDS = ("jwt", "oauth_server_to_server", "enterprise_web_app")
UNTRUSTWORTHY = (
    "wrong_unit",
    "negative_expires_in",
    "zero_expires_in",
    "absent_expires_in",
    "absurd_expires_in",
    "expired_token",
    "other_client",
    "other_org",
    "garbage",
    "html",
    "empty",
)
SPOOFED = (
    (b"X-Forwarded-For", b"127.0.0.1"),
    (b"X-Forwarded-Host", b"evil.test"),
    (b"X-Forwarded-Proto", b"https"),
    (b"Forwarded", b"for=127.0.0.1;host=evil.test;proto=https"),
    (b"X-Forwarded-User", CALLER.encode()),
    (b"X-Remote-User", CALLER.encode()),
    (b"X-Original-URL", b"/metrics"),
    (b"X-Rewrite-URL", b"/metrics"),
    (b"X-HTTP-Method-Override", b"DELETE"),
    (b"X-Vault-Token", b"root"),
    (b"x-gw-ims-org-id", b"0123456789ABCDEF01234567@AdobeOrg"),
)


@pytest.mark.parametrize("kind", KINDS)
async def test_answers_have_the_true_expiry(fleet: Fleet, kind: str) -> None:
    """`expires_at` and `expires_in` are the token's own end within 2 s, on both endpoints and on every replica."""
    tenant = fleet.tenant(kind=kind)
    replies = [await replica.token(tenant.org) for replica in fleet.replicas]
    replies.append(await fleet.replicas[0].oauth2(tenant.org, CALLER))
    told: list[float] = []
    for reply in replies:
        assert reply.status == 200, reply.body
        truth = true_expiry(reply.json["access_token"])
        if "expires_at" in reply.json:  # RFC 6749 knows none, and some OAuth libraries fail on it.
            told.append(datetime.fromisoformat(reply.json["expires_at"]).timestamp() - truth)
        assert abs(time.time() + reply.json["expires_in"] - truth) <= 2
        assert reply.json["token_type"] == "Bearer"
        assert claims_of(reply.json["access_token"])["client_id"] == tenant.client_id == reply.json["client_id"]
        assert (reply.header("Cache-Control"), reply.header("Pragma")) == ("no-store", "no-cache")
    assert len(told) == 3
    assert max(map(abs, told)) <= 2
    assert outcomes(fleet.exchanges(tenant)) == ["issued"]


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("fault", UNTRUSTWORTHY)
async def test_untrustworthy_answers_are_refused_and_not_kept(fleet: Fleet, kind: str, fault: str) -> None:
    """An answer of IMS that cannot be trusted is a 502, is not cached, and harms no later request."""
    tenant = fleet.tenant(kind=kind)
    order = fleet.sandbox.fault(fault, client_id=tenant.client_id)
    for replica in fleet.replicas[:2]:
        reply = await replica.token(tenant.org)
        assert (reply.status, reply.json["code"]) == (502, "bad_upstream_response"), reply.body
        assert reply.header("Cache-Control") == "no-store"
    fleet.sandbox.order("DELETE", f"/sandbox/faults/{order}")
    for replica in fleet.replicas:
        reply = await replica.token(tenant.org)
        assert reply.status == 200, reply.body
        assert abs(time.time() + reply.json["expires_in"] - true_expiry(reply.json["access_token"])) <= 2


async def test_a_token_works_at_the_api_it_is_for(fleet: Fleet) -> None:
    """The three headers of `/headers` open Adobe's API; the token by itself, or with another org's id, does not."""
    tenant, other = fleet.tenant(kind="jwt"), fleet.tenant()
    answer = await fleet.replicas[0].get(f"/headers?org={tenant.org}", method="POST")
    assert (answer.status, answer.body) == (200, b"")
    names = ("Authorization", "x-api-key", "x-gw-ims-org-id")
    headers = [(name.encode(), (answer.header(name) or "").encode()) for name in names]
    assert (await exchange(fleet.sandbox.port, request_bytes("GET", "/imp/journeys", headers))).status == 200
    wrong = [*headers[:2], (b"x-gw-ims-org-id", other.org.encode())]
    assert (await exchange(fleet.sandbox.port, request_bytes("GET", "/imp/journeys", wrong))).status == 403


async def test_a_scope_is_never_more_than_asked_for(fleet: Fleet) -> None:
    """A subset of the scopes, on any replica, yields a token with exactly these; a foreign scope is refused."""
    tenant = fleet.tenant()
    for _ in range(2):
        for replica in fleet.replicas:
            whole, part = await replica.token(tenant.org), await replica.token(tenant.org, scope="openid")
            assert set(claims_of(whole.json["access_token"])["scope"].split(",")) == set(SCOPES)
            assert (claims_of(part.json["access_token"])["scope"], part.json["scope"]) == ("openid", "openid")
    assert len(fleet.exchanges(tenant)) == 2
    foreign = await fleet.replicas[0].token(tenant.org, scope="openid admin")
    assert (foreign.status, foreign.json["code"]) == (400, "invalid_request")


async def test_hanging_tenants_slow_no_other_tenant(fleet: Fleet) -> None:
    """While 150 tenants' exchanges hang on one replica, another tenant is served: warm at once, cold within seconds."""
    hanging = [fleet.tenant() for _ in range(150)]
    warm, cold = fleet.tenant(), fleet.tenant()
    replica = fleet.replicas[0]
    assert (await replica.token(warm.org)).status == 200
    for tenant in hanging:
        fleet.sandbox.fault("hang", client_id=tenant.client_id)
    waiting = [asyncio.create_task(replica.token(tenant.org)) for tenant in hanging]
    await _until_struck(fleet, DEFAULT_PLACES)
    replies = {name: await replica.token(tenant.org) for name, tenant in {"warm": warm, "cold": cold}.items()}
    assert {name: reply.status for name, reply in replies.items()} == {"warm": 200, "cold": 200}
    assert replies["warm"].seconds < 1
    assert replies["cold"].seconds < 5
    for refused in await asyncio.gather(*waiting):
        assert refused.status == 503
        assert refused.json["code"] in {"ims_unavailable", "overloaded"}
        assert int(refused.header("Retry-After") or 0) >= 1
        assert refused.seconds <= 15


async def _until_struck(fleet: Fleet, number: int) -> None:
    """Wait until fault orders have struck this many exchanges."""
    await until(lambda: fleet.sandbox.all_hits() >= number, 15)


async def test_headers_of_proxies_prove_nothing(fleet: Fleet) -> None:
    """Headers in which proxies describe clients neither admit a caller nor change an answer or a URL."""
    tenant, replica = fleet.tenant(), fleet.replicas[0]
    target = f"/token?org={tenant.org}"
    plain = await replica.get(target)
    spoofed = await replica.get(target, headers=SPOOFED)
    assert plain.status == spoofed.status == 200
    assert spoofed.json["access_token"] == plain.json["access_token"]
    unproven = await exchange(replica.port, request_bytes("GET", target, SPOOFED))
    assert (unproven.status, unproven.json["code"]) == (401, "unauthenticated")
    described = await replica.get("/.well-known/oauth-authorization-server", headers=SPOOFED)
    assert described.json["issuer"] == "http://broker.test"


async def test_policy_edits_take_effect_on_all_replicas(fleet: Fleet) -> None:
    """What a policy edit takes away is gone on every replica within 5 s, although its token is warm in memory."""
    tenant, other = fleet.tenant(), fleet.tenant()
    key = fleet.policy.caller("soon-gone", {"orgs": [tenant.org, other.org]})
    await _until_all(fleet, tenant.org, key, 200)
    assert {(await replica.token(other.org, key=key)).status for replica in fleet.replicas} == {200}
    fleet.policy.rules("soon-gone", {"orgs": [other.org]})
    await _until_all(fleet, tenant.org, key, 403)
    assert {(await replica.token(other.org, key=key)).status for replica in fleet.replicas} == {200}
    fleet.policy.remove("soon-gone")
    await _until_all(fleet, other.org, key, 401)


async def _until_all(fleet: Fleet, org: str, key: str, status: int) -> None:
    """Ask all replicas until all answer `status`; they have 5 s from now, and a fraction for the asking itself."""
    end = time.monotonic() + 5.3
    statuses: list[Reply] = []
    while time.monotonic() < end:
        statuses = list(await asyncio.gather(*(replica.token(org, key=key) for replica in fleet.replicas)))
        if all(reply.status == status for reply in statuses):
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"not all {status}: {[reply.status for reply in statuses]}")
