"""Whether an answer of IMS contains a token that the broker can trust."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import pytest

from app.domain.grant import Grant
from app.domain.names import OrgId, Scope
from app.domain.tenant_errors import BadUpstreamResponseError
from app.domain.token_response import issued_token, readable_claims
from tests.support import grants

NOW = 1_800_000_000.0
DAY = 86399
OPAQUE = "an-opaque-access-token"
ABSENT = object()


def token(
    claims: Mapping[str, object] | None = None,
    *,
    created_at: object = ABSENT,
    expires_in: object = ABSENT,
    padded: bool = False,
) -> str:
    """A three-part token with these claims."""
    times = {"created_at": created_at, "expires_in": expires_in}
    payload = {name: value for name, value in {**times, **(claims or {})}.items() if value is not ABSENT}
    part = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode()
    return f"eyJhbGciOiJSUzI1NiJ9.{part if padded else part.rstrip('=')}.c2lnbmF0dXJl"


def adobe_token(lifetime: float = DAY, age: float = 0, claims: Mapping[str, object] | None = None) -> str:
    """A token as IMS issues it: times are milliseconds as strings."""
    return token(claims, created_at=str(int((NOW - age) * 1000)), expires_in=str(int(lifetime * 1000)))


def answer(expires_in: object = DAY, access_token: object = OPAQUE, token_type: object = "bearer") -> dict[str, object]:
    """The decoded body of an answer."""
    fields = {"access_token": access_token, "token_type": token_type, "expires_in": expires_in}
    return {name: value for name, value in fields.items() if value is not ABSENT}


def refused(grant: Grant, payload: object) -> str:
    """Why an answer is refused."""
    with pytest.raises(BadUpstreamResponseError) as caught:
        issued_token(grant, payload, NOW)
    assert OPAQUE not in str(caught.value)
    return caught.value.reason


JWT, OAUTH = grants.jwt_exchange(), grants.oauth_exchange()


@pytest.mark.parametrize(
    ("grant", "expires_in"),
    [(JWT, DAY * 1000), (OAUTH, DAY), (OAUTH, "86399"), (OAUTH, 86399.0), (JWT, "86399000")],
)
def test_the_unit_of_expires_in_depends_on_the_endpoint(grant: Grant, expires_in: object) -> None:
    """A day is 86399000 at the JWT endpoint and 86399 at the token endpoint."""
    issued = issued_token(grant, answer(expires_in), NOW)
    assert (issued.value, issued.issued_at, issued.expires_at) == (OPAQUE, NOW, NOW + DAY)


@pytest.mark.parametrize(
    "expires_in",
    [
        0,
        -1,
        -86399,
        True,
        False,
        1.5,
        1e300,
        float("inf"),
        "",
        "-1",
        "1.5",
        "ten",
        None,
        ABSENT,
        [],
        {},
        10**17,
        10**4000,
        "9" * 5000,
        "٣٦٠٠",
        48 * 3600 + 1,
    ],
)
def test_an_impossible_lifetime_is_refused(expires_in: object) -> None:
    """A lifetime that is not a positive number of at most 48 hours is refused."""
    assert "expires_in" in refused(OAUTH, answer(expires_in))


@pytest.mark.parametrize(
    "value",
    [
        ABSENT,
        None,
        1,
        True,
        "",
        "short",
        "x" * 16385,
        "with space in the middle",
        "line\r\nbreak-in-the-token",
        "null\x00byte-in-the-token",
        "ünïcode-access-token",
        "trailing-newline-token\n",
        ["a-token-in-a-list"],
    ],
)
def test_a_token_that_cannot_be_a_header_value_is_refused(value: object) -> None:
    """A token is 16 to 16384 visible ASCII characters."""
    assert "access_token" in refused(OAUTH, answer(access_token=value))


@pytest.mark.parametrize("token_type", [ABSENT, None, "bearer", "Bearer", "BEARER"])
def test_the_type_is_bearer_or_absent(token_type: object) -> None:
    """The answer to an enterprise web app has no ``token_type``."""
    assert issued_token(OAUTH, answer(token_type=token_type), NOW).value == OPAQUE


@pytest.mark.parametrize("token_type", ["mac", "", 1, ["bearer"], "DPoP"])
def test_another_type_is_refused(token_type: object) -> None:
    """A token that is not a bearer token is refused."""
    assert "token_type" in refused(OAUTH, answer(token_type=token_type))


@pytest.mark.parametrize("payload", [None, [], "text", 5, [answer()], {}])
def test_only_an_object_with_a_token_is_an_answer(payload: object) -> None:
    """A body of another shape is refused."""
    refused(OAUTH, payload)


@pytest.mark.parametrize(
    ("grant", "expires_in", "good"),
    [
        (JWT, DAY, False),
        (JWT, 299_999, False),
        (JWT, 300_000, True),
        (OAUTH, 9, False),
        (OAUTH, 10, True),
        (OAUTH, DAY * 1000, False),
        (JWT, 48 * 3600 * 1000, True),
        (JWT, 48 * 3600 * 1000 + 1, False),
    ],
)
def test_an_ambiguous_unit_of_an_opaque_token_is_refused(grant: Grant, expires_in: int, good: bool) -> None:
    """If the claims cannot be read, a lifetime that would be plausible in the other unit is refused."""
    if good:
        assert issued_token(grant, answer(expires_in), NOW).expires_at > NOW
    else:
        assert "expires_in" in refused(grant, answer(expires_in))


@pytest.mark.parametrize(("grant", "unit"), [(JWT, 1000), (OAUTH, 1)])
@pytest.mark.parametrize("lifetime", [6, 40, 299, 3599, DAY])
def test_a_short_lifetime_is_accepted_if_the_claims_agree(grant: Grant, unit: int, lifetime: int) -> None:
    """A short lifetime is accepted if the token's claims confirm it."""
    issued = issued_token(grant, answer(lifetime * unit, adobe_token(lifetime)), NOW)
    assert issued.expires_at == NOW + lifetime


@pytest.mark.parametrize(("grant", "expires_in"), [(JWT, DAY), (OAUTH, 172_000), (OAUTH, DAY + 900), (OAUTH, 8000)])
def test_an_answer_that_contradicts_the_claims_is_refused(grant: Grant, expires_in: int) -> None:
    """A lifetime far from the claimed one is refused: the unit is wrong, or worse."""
    reason = refused(grant, answer(expires_in, adobe_token(DAY if expires_in != DAY + 900 else DAY - 900)))
    assert "contradicts the claims" in reason


def test_the_earlier_expiry_counts() -> None:
    """Of two expiry times that nearly agree, the earlier one is used."""
    older = issued_token(OAUTH, answer(DAY, adobe_token(DAY, age=60)), NOW)
    assert older.expires_at == NOW + DAY - 60
    remaining = issued_token(OAUTH, answer(40_000, adobe_token(DAY)), NOW)
    assert remaining.expires_at == NOW + 40_000


@pytest.mark.parametrize(
    ("age", "reason"), [(DAY, "expired"), (DAY + 3600, "expired"), (DAY - 3, "within seconds"), (-301, "future")]
)
def test_a_token_outside_its_validity_is_refused(age: float, reason: str) -> None:
    """A token that has expired, is about to expire, or is not yet valid is refused."""
    assert reason in refused(OAUTH, answer(DAY, adobe_token(DAY, age=age)))


def test_a_clock_behind_adobes_is_tolerated() -> None:
    """A token issued up to 300 s in the future is accepted, and expires when the answer says."""
    assert issued_token(OAUTH, answer(DAY, adobe_token(DAY, age=-299)), NOW).expires_at == NOW + DAY


@pytest.mark.parametrize("padded", [True, False])
def test_numbers_and_padding_are_both_read(padded: bool) -> None:
    """Integer times and padded base64url are read, too."""
    value = token(created_at=int(NOW * 1000), expires_in=40_000, padded=padded)
    assert issued_token(OAUTH, answer(40, value), NOW).expires_at == NOW + 40


@pytest.mark.parametrize(
    "value",
    [
        "a.b.c-not-a-real-token",
        "two.parts-of-a-longer-text",
        "header.!!!!.signature-part",
        "h.e30.s" + "x" * 20,
        token(created_at="soon", expires_in="later"),
        token(created_at=True, expires_in=True),
        token(created_at="1", expires_in=ABSENT),
        "header.W10.signature-part",
        "h." + "A" * 5001 + ".signature",
    ],
    ids=lambda value: value[:24],
)
def test_an_unreadable_token_is_opaque(value: str) -> None:
    """If the times of a token cannot be read, only the answer counts."""
    assert issued_token(OAUTH, answer(DAY, value), NOW).expires_at == NOW + DAY
    assert "too short" in refused(OAUTH, answer(9, value))


def test_hostile_claims_are_opaque() -> None:
    """Claims with duplicate keys or excessive nesting are not read."""
    for payload in (b'{"client_id":"a","client_id":"b"}', b"[" * 9000):
        part = base64.urlsafe_b64encode(payload).decode().rstrip("=")
        assert readable_claims(f"h.{part}.s") == {}


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"client_id": "another-client"}, "client"),
        ({"client_id": 7}, "client"),
        ({"org": grants.OTHER_ORG}, "org"),
        ({"org_id": grants.OTHER_ORG}, "org"),
        ({"user_id": "FFFFFF0123456789ABCDEF01@techacct.adobe.com"}, "technical account"),
    ],
)
def test_a_token_for_another_client_is_refused(claims: dict[str, object], reason: str) -> None:
    """A token that names another client, org or technical account is refused, even if its times cannot be read."""
    assert reason in refused(OAUTH, answer(DAY, adobe_token(claims=claims)))
    assert reason in refused(OAUTH, answer(DAY, token(claims)))


@pytest.mark.parametrize(
    "claims",
    [
        {"client_id": grants.CLIENT_ID, "org": grants.ORG, "org_id": grants.ORG, "user_id": grants.ACCOUNT},
        {"user_id": "0f1e2d3c-0000-4000-8000-000000000000@techacct.adobe.com"},
        {"user_id": "someone@example.org"},
        {"client_id": None, "org": None},
        {},
    ],
)
def test_a_token_for_this_credential_is_trusted(claims: dict[str, object]) -> None:
    """Claims that match, or that cannot be compared, are not a reason to refuse."""
    assert issued_token(OAUTH, answer(DAY, adobe_token(claims=claims)), NOW).expires_at == NOW + DAY


def test_a_credential_without_a_technical_account_cannot_compare_it() -> None:
    """If the document names no technical account, any account is accepted."""
    grant = grants.oauth_exchange(credential=grants.oauth_credential(account=None))
    assert issued_token(grant, answer(DAY, adobe_token(claims={"user_id": grants.ACCOUNT})), NOW).value


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("openid,AdobeID", ("AdobeID", "openid")),
        ("openid AdobeID other", ("AdobeID", "openid")),
        ("openid, other", ("openid",)),
        ("other", ("AdobeID", "openid")),
        (7, ("AdobeID", "openid")),
        (ABSENT, ("AdobeID", "openid")),
    ],
)
def test_the_scopes_are_the_requested_ones_that_the_token_claims(scope: object, expected: tuple[str, ...]) -> None:
    """A readable ``scope`` claim narrows down the requested scopes."""
    assert issued_token(OAUTH, answer(DAY, adobe_token(claims={"scope": scope})), NOW).scopes == tuple(
        map(Scope, expected)
    )


@pytest.mark.parametrize("scope", ["openid,AdobeID", "openid other", "other", "", 7, ["openid"]])
def test_a_request_for_some_scopes_never_gets_others(scope: object) -> None:
    """A token that claims a scope outside the requested ones is refused."""
    part = grants.oauth_exchange(scopes=(Scope("openid"),))
    with pytest.raises(BadUpstreamResponseError):
        issued_token(part, answer(DAY, adobe_token(claims={"scope": scope})), NOW)
    assert issued_token(part, answer(DAY, adobe_token(claims={"scope": "openid"})), NOW).scopes == ("openid",)


def test_metascopes_are_the_requested_ones() -> None:
    """A service account's token does not repeat its metascopes."""
    issued = issued_token(JWT, answer(DAY * 1000, adobe_token(claims={"scope": "openid"})), NOW)
    assert issued.scopes == grants.METASCOPES


def test_an_issued_token_is_not_in_its_repr() -> None:
    """A token's repr does not contain its value."""
    assert OPAQUE not in repr(issued_token(OAUTH, answer(), NOW))


def test_an_enterprise_token_for_the_requested_org_is_trusted() -> None:
    """The org of an enterprise web app is that of its path, whatever the client's home org is."""
    grant = grants.oauth_exchange(credential=grants.enterprise_credential(org=OrgId(grants.OTHER_ORG)))
    value = adobe_token(3599, claims={"org_id": grants.OTHER_ORG})
    assert issued_token(grant, answer(3599, value, ABSENT), NOW).expires_at == NOW + 3599
