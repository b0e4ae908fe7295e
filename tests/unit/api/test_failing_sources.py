"""A limit on refused credentials per address, which hurts no caller that is known."""

from __future__ import annotations

import pytest

from app.api.failing_sources import MAX_SOURCES, REFUSALS_OF_A_SOURCE, FailingSources
from app.domain.errors import SourceLimitedError
from app.domain.identity import JwtIdentity
from app.domain.rate_limit import RateLimit
from tests.factories import ISSUER, make_api_key
from tests.support.api_in_memory import EXPORTER, JOURNEY, TOKEN, ApiInMemory
from tests.support.asgi_client import AsgiResponse, Header

SAME_ID = ("X-Request-Id", "same-id")


def stranger(number: int = 0) -> Header:
    """A header with an API key of no caller."""
    return ("Authorization", f"Bearer {make_api_key(f'stranger{number}')}")


JWT = ("Authorization", "Bearer eyJ.of.a-stranger")


async def with_header(api: ApiInMemory, header: Header) -> AsgiResponse:
    """``GET /token`` with this Authorization header."""
    return await api.get(TOKEN, header, SAME_ID, caller=None)


async def exhausted(api: ApiInMemory) -> None:
    """Refuse as many credentials as one address may have at once."""
    for number in range(REFUSALS_OF_A_SOURCE.requests):
        assert (await with_header(api, stranger(number))).status == 401


async def test_an_address_with_too_many_refused_credentials_waits(api: ApiInMemory) -> None:
    """Further JWTs, good or bad, and unknown API keys get one constant 429; other addresses are served; time helps."""
    assert (await api.get()).status == 200
    await exhausted(api)
    api.verifier.known[b"eyJ.a.b"] = JwtIdentity(ISSUER.issuer, "exporter", api.clock() + 3600.0)
    bad, bad_jwt = await with_header(api, stranger()), await with_header(api, JWT)
    good_jwt = await with_header(api, ("Authorization", "Bearer eyJ.a.b"))
    assert (bad.status, bad.code, bad.header("retry-after")) == (429, "rate_limited", "1")
    assert bad == bad_jwt == good_jwt
    assert api.sink.outcomes[-3:] == ["rate_limited"] * 3
    form = await api.form({"grant_type": "client_credentials", "client_id": "x", "client_secret": make_api_key("x")})
    assert (form.status, form.json["error"]) == (429, "temporarily_unavailable")
    assert (await api.get(caller="operator")).status != 429, "an API key of a caller is not limited"
    api.address = "192.0.2.2"
    assert (await with_header(api, stranger())).status == 401
    assert (await api.get(caller="operator")).status == 200
    api.address = "192.0.2.1"
    api.clock.advance(0.01)
    assert (await with_header(api, stranger())).status == 401
    assert (await with_header(api, stranger())).status == 429


async def test_a_jwt_that_was_good_is_verified_again(api: ApiInMemory) -> None:
    """After the minute for which its proof counts, a known JWT is looked at, whatever others at its address do."""
    jwt = ("Authorization", "Bearer eyJ.a.b")
    api.verifier.known[b"eyJ.a.b"] = JwtIdentity(ISSUER.issuer, "exporter", api.clock() + 3600.0)
    assert (await with_header(api, jwt)).status == 200
    api.clock.advance(61.0)
    await exhausted(api)
    assert (await with_header(api, jwt)).status == 200


async def test_a_new_policy_limits_no_caller_that_was_served_before(api: ApiInMemory) -> None:
    """After a change of the policy, a caller's API key and JWT are served, whatever others at its address do."""
    jwt = ("Authorization", "Bearer eyJ.a.b")
    api.verifier.known[b"eyJ.a.b"] = JwtIdentity(ISSUER.issuer, "exporter", api.clock() + 3600.0)
    assert (await with_header(api, jwt)).status == 200
    assert (await api.get()).status == 200
    await exhausted(api)
    api.change_policy(JOURNEY, EXPORTER)
    assert (await with_header(api, jwt)).status == 200
    assert (await api.get()).status == 200


async def test_good_and_missing_credentials_are_not_counted(api: ApiInMemory) -> None:
    """Only a credential that was looked at and refused counts."""
    for _ in range(REFUSALS_OF_A_SOURCE.requests + 1):
        assert (await api.get(caller=None)).status == 401
        assert (await api.get("/orgs")).status != 429
    assert (await with_header(api, stranger())).status == 401


@pytest.mark.parametrize(("one", "other", "same"), [
    ("192.0.2.1", "192.0.2.2", False),
    ("2001:db8::1", "2001:db8::ffff:2", True),
    ("2001:db8::1", "2001:db8:0:1::1", False),
    ("::ffff:192.0.2.1", "192.0.2.1", True),
    ("", "", True),
    ("not an address", "192.0.2.1", False),
])  # fmt: skip
def test_an_ipv6_network_counts_as_one_address(one: str, other: str, same: bool) -> None:
    """One client usually has 2^64 of them."""
    sources = FailingSources(RateLimit(1, 1.0))
    sources.count(one, 0.0)
    with pytest.raises(SourceLimitedError) as refused:
        sources.check(one, 0.5)
    assert refused.value.retry_after == pytest.approx(0.5)
    if same:
        with pytest.raises(SourceLimitedError):
            sources.check(other, 0.5)
    else:
        sources.check(other, 0.5)


def test_addresses_are_bounded() -> None:
    """The address that has not failed for longest is forgotten."""
    sources = FailingSources(RateLimit(1, 1e9))
    for number in range(MAX_SOURCES):
        sources.count(str(number), 0.0)
    sources.count("0", 0.0)
    sources.count("one more", 0.0)
    sources.check("1", 0.0)
    for address in ("0", "2", "one more"):
        with pytest.raises(SourceLimitedError):
            sources.check(address, 0.0)
    assert len(sources._buckets) == MAX_SOURCES
