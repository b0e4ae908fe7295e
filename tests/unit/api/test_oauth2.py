"""`POST /oauth2/token`: the client credentials grant of RFC 6749, for any OAuth 2.0 client library."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.oauth2 import oauth2_error
from app.api.oauth2_client import JWT_BEARER, MAX_FORM_BYTES
from app.domain import dependency_errors, errors, tenant_errors
from app.domain.identity import JwtIdentity
from app.domain.policy import Action
from app.domain.rate_limit import RateLimit
from tests.factories import ISSUER, ORG, OTHER_ORG, UNKNOWN_ORG, make_api_key, make_caller, make_rule
from tests.support.api_in_memory import ApiInMemory, bearer
from tests.support.asgi_client import AsgiResponse, Header

KEY = make_api_key()
GRANT = {"grant_type": "client_credentials"}
POSTED = {**GRANT, "client_id": "journey", "client_secret": KEY}
ASKED = {**POSTED, "org": ORG}
JWT = "eyJ.some.jwt"
ASSERTED = {**GRANT, "client_assertion_type": JWT_BEARER, "client_assertion": JWT}
FORM = ("Content-Type", "application/x-www-form-urlencoded")
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
SAME_ID = ("X-Request-Id", "same")


@pytest.fixture
def api() -> ApiInMemory:
    """The API with its usual callers; `JWT` is the exporter's."""
    api = ApiInMemory()
    api.verifier.known[JWT.encode()] = JwtIdentity(ISSUER.issuer, "exporter", api.clock() + 600.0)
    return api


def basic(pair: str = f"journey:{KEY}") -> Header:
    """An HTTP Basic header of text that is not encoded further."""
    return ("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())


def error_of(answer: AsgiResponse, status: int = 400) -> str:
    """The error of a refusal; checks what every refusal has."""
    assert answer.status == status
    names = ("content-type", "cache-control", "pragma")
    assert [answer.header(name) for name in names] == ["application/json", "no-store", "no-cache"]
    assert set(answer.json) == {"error", "error_description", "code", "request_id"}
    assert answer.json["request_id"] == answer.header("x-request-id")
    assert DESCRIPTION.fullmatch(answer.json["error_description"])
    assert answer.header("www-authenticate") == ('Basic realm="ims-token-broker"' if status == 401 else None)
    assert (answer.header("retry-after") is not None) is (status in {429, 503})
    return str(answer.json["error"])


async def test_each_method_of_authentication_yields_the_token_of_get_token(api: ApiInMemory) -> None:
    """Basic, form fields and an assertion, with or without a client_id, get an answer by RFC 6749 section 5.1."""
    usual = (await api.get()).json
    for fields, headers in (
        (GRANT, [basic()]),
        (GRANT | {"client_id": "journey"}, [basic()]),
        (POSTED, []),
        (ASSERTED, []),
        (ASSERTED | {"client_id": "exporter"}, []),
    ):
        answer = await api.form(fields | {"org": ORG}, *headers)
        names = ("content-type", "cache-control", "pragma")
        assert [answer.header(name) for name in names] == ["application/json", "no-store", "no-cache"]
        assert answer.status == 200
        # expires_at is not a field of RFC 6749: client libraries keep a number of their own under that name.
        assert answer.json == {name: value for name, value in usual.items() if name != "expires_at"}
    assert (usual["token_type"], type(usual["expires_in"])) == ("Bearer", int)
    assert api.world.exchanges == 1


async def test_basic_credentials_are_urlencoded_before_base64() -> None:
    """RFC 6749 section 2.3.1: a name with a colon, a blank and a percent sign is decoded, and so is an escaped key."""
    api = ApiInMemory(make_caller("a: b+c%41", api_keys=[KEY]))
    key = "".join(f"%{ord(character):02X}" for character in KEY)
    assert (await api.form(GRANT | {"org": ORG}, basic(f"{quote_plus('a: b+c%41')}:{key}"))).status == 200


@pytest.mark.parametrize("name", ["org", "credential", "scope"])
async def test_parameters_may_be_in_the_form_or_the_query_or_equal_in_both(api: ApiInMemory, name: str) -> None:
    """Either place is accepted, and so is the same value in both; different values are invalid_request."""
    asked = {"org": ORG, "credential": "default", "scope": "openid"}
    others = {key: value for key, value in asked.items() if key != name}
    here, there = {name: asked[name]}, {name: {"org": OTHER_ORG, "credential": "other", "scope": "session"}[name]}
    for form, query in ((here, {}), ({}, here), (here, here)):
        answer = await api.form(POSTED | others | form, query=f"?{urlencode(query)}")
        assert (answer.json["org_id"], answer.json["credential"], answer.json["scope"]) == (ORG, "default", "openid")
    answer = await api.form(POSTED | others | here, query=f"?{urlencode(there)}")
    assert error_of(answer) == "invalid_request"
    assert api.world.exchanges == 1


async def test_a_scope_is_a_subset_or_invalid_scope() -> None:
    """The token has the requested scopes; a scope that is malformed, missing or not allowed is invalid_scope."""
    api = ApiInMemory(make_caller("journey", make_rule(ORG, scopes="openid AdobeID admin")))
    answer = await api.form(ASKED | {"scope": "openid AdobeID"})
    assert answer.json["scope"] == "AdobeID openid"
    assert error_of(await api.form(ASKED | {"scope": "openid admin"})) == "invalid_scope"
    assert error_of(await api.form(ASKED | {"scope": "openid session"})) == "invalid_scope"
    assert error_of(await api.form(ASKED | {"scope": 'openid "x"'})) == "invalid_scope"
    assert api.world.exchanges == 1


async def test_only_client_credentials_are_granted(api: ApiInMemory) -> None:
    """Any other grant_type is unsupported; a missing or empty one is an invalid request."""
    for grant in ("password", "refresh_token", "CLIENT_CREDENTIALS", JWT_BEARER):
        assert error_of(await api.form(ASKED | {"grant_type": grant})) == "unsupported_grant_type"
    for fields in (ASKED | {"grant_type": ""}, {name: ASKED[name] for name in ASKED.keys() - GRANT.keys()}):
        assert error_of(await api.form(fields)) == "invalid_request"
    assert api.world.exchanges == 0


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        (POSTED, [basic()]),
        (ASSERTED, [basic()]),
        (POSTED | ASSERTED, []),
        (POSTED, [bearer()]),
        (GRANT, [basic(), basic()]),
    ],
)
async def test_two_methods_of_authentication_are_refused(
    api: ApiInMemory, fields: dict[str, str], headers: list[Header]
) -> None:
    """RFC 6749 section 2.3: more than one method is invalid_request, even if each is valid."""
    assert error_of(await api.form(fields | {"org": ORG}, *headers)) == "invalid_request"


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        pytest.param(GRANT, [], id="nothing"),
        pytest.param(POSTED | {"client_secret": make_api_key("stranger")}, [], id="unknown key"),
        pytest.param(POSTED | {"client_secret": "pass"}, [], id="no key"),
        pytest.param(POSTED | {"client_id": "operator"}, [], id="another's name"),
        pytest.param(POSTED | {"client_id": ""}, [], id="no name"),
        pytest.param(GRANT | {"client_id": "operator"}, [basic()], id="another's name next to Basic"),
        pytest.param(GRANT, [basic(f"operator:{KEY}")], id="another's name by Basic"),
        pytest.param(GRANT, [basic(KEY)], id="Basic without a colon"),
        pytest.param(GRANT, [basic(f"journey:{KEY}é")], id="Basic beyond ASCII"),
        pytest.param(GRANT, [("Authorization", "Basic %%%")], id="not base64"),
        pytest.param(GRANT, [basic(f"journey:{KEY}{'x' * 9000}")], id="very long Basic"),
        pytest.param(GRANT, [bearer()], id="Bearer"),
        pytest.param(ASSERTED | {"client_assertion": "eyJ.for.ged"}, [], id="forged assertion"),
        pytest.param(ASSERTED | {"client_assertion": KEY}, [], id="key as assertion"),
        pytest.param(ASSERTED | {"client_id": "journey"}, [], id="assertion of another"),
        pytest.param(ASSERTED | {"client_assertion_type": "jwt"}, [], id="unknown type of assertion"),
        pytest.param(GRANT | {"client_id": "exporter", "client_secret": JWT}, [], id="JWT as secret"),
        pytest.param(GRANT, [basic(f"exporter:{JWT}")], id="JWT by Basic"),
    ],
)
async def test_a_client_that_fails_to_authenticate_is_invalid_client(
    api: ApiInMemory, fields: dict[str, str], headers: list[Header]
) -> None:
    """Any defect of the client's credential gives 401, a Basic challenge, and the same text."""
    answer = await api.form(fields | {"org": ORG}, *headers)
    assert error_of(answer, 401) == "invalid_client"
    expected = "Authenticate by HTTP Basic, by client_id and client_secret, or by client_assertion."
    assert answer.json["error_description"] == expected
    assert api.world.store.fetches == []


@pytest.mark.parametrize(
    ("body", "content_types"),
    [
        pytest.param(urlencode(ASKED) + f"&org={ORG}", [FORM], id="repeated"),
        pytest.param(json.dumps(ASKED), [("Content-Type", "application/json")], id="JSON"),
        pytest.param(urlencode(ASKED), [], id="no media type"),
        pytest.param(urlencode(ASKED), [FORM, FORM], id="two media types"),
        pytest.param(urlencode(ASKED) + "&x=%ff", [FORM], id="not UTF-8"),
        pytest.param(urlencode(ASKED) + "&x=é", [FORM], id="not encoded"),
        pytest.param(urlencode(ASKED) + "&x=" + "x" * 100_000, [FORM], id="longer than any body"),
        pytest.param(urlencode(POSTED), [FORM], id="no org"),
        pytest.param(urlencode(POSTED | {"org": "nonsense"}), [FORM], id="malformed org"),
        pytest.param(urlencode(ASKED | {"credential": "../x"}), [FORM], id="malformed credential"),
    ],
)
async def test_a_malformed_form_is_invalid_request(api: ApiInMemory, body: str, content_types: list[Header]) -> None:
    """Repeated fields, another media type, bad encoding, too much data or no org: nothing is looked up."""
    answer = await api.ask("POST", "/oauth2/token", *content_types, caller=None, body=body.encode())
    assert error_of(answer) == "invalid_request"
    assert api.world.store.fetches == []


async def test_a_form_may_have_unknown_and_empty_parameters_up_to_its_limit(api: ApiInMemory) -> None:
    """RFC 6749 section 3.2: unknown parameters are ignored, those without a value count as omitted."""
    empty = dict.fromkeys(("scope", "credential", "client_secret", "client_assertion", "resource"), "")
    assert (await api.form(GRANT | {"org": ORG} | empty, basic())).json["scope"] == "AdobeID openid session"
    body = urlencode(ASKED).encode() + b"&x="
    body += b"x" * (MAX_FORM_BYTES - len(body))
    content_type = ("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")
    assert (await api.ask("POST", "/oauth2/token", content_type, caller=None, body=body)).status == 200
    assert error_of(await api.ask("POST", "/oauth2/token", FORM, caller=None, body=body + b"x")) == "invalid_request"


@pytest.mark.parametrize("name", ["client_secret", "client_assertion", "client_assertion_type"])
async def test_credentials_in_the_url_are_refused(api: ApiInMemory, name: str) -> None:
    """RFC 6749 section 2.3.1: they are not accepted there, and that is the first check."""
    query = f"?org={ORG}&client_id=journey&{name}={KEY}"
    for headers in ((), (basic(),)):
        answer = await api.form(GRANT, *headers, query=query)
        assert error_of(answer) == "invalid_request"
        assert answer.json["error_description"] == "A client credential must not be sent in the URL."


async def test_a_denial_by_the_policy_is_unauthorized_client_and_reveals_nothing(api: ApiInMemory) -> None:
    """A foreign org that exists and one that does not get identical answers, and nothing is looked up."""
    known = await api.form(POSTED | {"org": OTHER_ORG, "scope": "openid"}, SAME_ID)
    unknown = await api.form(POSTED | {"org": UNKNOWN_ORG, "scope": "openid"}, SAME_ID)
    assert error_of(known) == "unauthorized_client"
    assert known == unknown
    api.change_policy(make_caller("journey", make_rule(ORG, actions=set(Action) - {Action.VEND})))
    assert error_of(await api.form(ASKED)) == "unauthorized_client"
    assert error_of(await api.form(ASSERTED | {"org": ORG})) == "unauthorized_client"
    assert (api.world.store.fetches, api.world.cache.calls) == ([], [])


async def test_an_org_without_a_credential_is_invalid_request(api: ApiInMemory) -> None:
    """RFC 6749 has no error for it; the code next to the error names it."""
    answer = await api.form(ASSERTED | {"org": UNKNOWN_ORG})
    assert (error_of(answer), answer.json["code"]) == ("invalid_request", "credential_not_found")


async def test_a_client_over_its_limit_learns_how_long_to_wait() -> None:
    """It gets 429 with Retry-After and is served again after that; a wrong client_id does not count."""
    api = ApiInMemory(make_caller("journey", rate_limit=RateLimit(1, 60.0)))
    error_of(await api.form(ASKED | {"client_id": "operator"}), 401)
    assert (await api.form(ASKED)).status == 200
    over = await api.form(ASKED)
    assert error_of(over, 429) == "temporarily_unavailable"
    assert over.header("retry-after") == "60"
    api.clock.advance(60.0)
    assert (await api.form(ASKED)).status == 200


@pytest.mark.parametrize(
    ("failure", "retry_after"),
    [
        (dependency_errors.ImsUnavailableError("IMS does not answer.", 7.2), "8"),
        (tenant_errors.CredentialRejectedError("invalid_client", "debug-1", hint="Rotate the secret."), "60"),
        (tenant_errors.BadUpstreamResponseError("not JSON"), "60"),
        (tenant_errors.CredentialMisconfiguredError("client_id", 'must be "text"\n\\ no ü'), "30"),
        (dependency_errors.CredentialStoreError("Vault is sealed."), "5"),
    ],
    ids=lambda value: getattr(value, "code", None),
)
async def test_a_failure_that_is_not_the_clients_is_temporarily_unavailable(
    api: ApiInMemory, failure: errors.BrokerError, retry_after: str
) -> None:
    """The answer is 503 with Retry-After if IMS, Vault, the tenant or the issuer failed; the code says which."""
    api.world.exchanger.failures[ORG] = failure
    answer = await api.form(ASKED)
    assert error_of(answer, 503) == "temporarily_unavailable"
    assert (answer.json["code"], answer.header("retry-after")) == (failure.code, retry_after)
    api.verifier.failure = dependency_errors.IdentityUnavailableError("The keys of the issuer are unavailable.")
    assert error_of(await api.form(ASSERTED | {"org": ORG}), 503) == "temporarily_unavailable"


@given(st.text())
def test_a_description_has_only_characters_that_the_rfc_allows(detail: str) -> None:
    """RFC 6749 section 5.2 allows no quote, no backslash and only ASCII, whatever the error's text."""
    answer = oauth2_error(errors.InvalidRequestError(f"x{detail}"), "id")
    assert DESCRIPTION.fullmatch(json.loads(bytes(answer.body))["error_description"])
