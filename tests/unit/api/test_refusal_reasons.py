"""Why a caller was refused reaches audit, metric and log, and never the caller."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from app.adapters.audit_log.audit_lines import AuditLines
from app.adapters.jwt_verifier import JwtCallerVerifier
from app.adapters.prometheus import PrometheusSink
from app.domain.events import CallerRefused, RequestDecided
from app.domain.refusal_reason import RefusalReason
from tests.factories import ORG, OTHER_ORG, make_api_key, make_caller, make_rule
from tests.support.api_in_memory import JOURNEY, ApiInMemory
from tests.support.asgi_client import AsgiResponse, send
from tests.support.issuer import SUBJECT, LocalIssuer, SigningKey
from tests.support.trusting import NOW, trusting

HOUR = 3600
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture
def issuer() -> LocalIssuer:
    """An issuer that the broker trusts."""
    return LocalIssuer((SigningKey("key-1"),))


@pytest.fixture
async def verifier(issuer: LocalIssuer, tmp_path: Path) -> AsyncIterator[JwtCallerVerifier]:
    """A verifier that trusts the issuer."""
    made = await trusting(issuer, tmp_path)
    yield made
    await made.aclose()
    issuer.close()


@pytest.fixture
def api(verifier: JwtCallerVerifier) -> ApiInMemory:
    """An API whose only callers have API keys."""
    return ApiInMemory(JOURNEY, verifier=verifier)


def refused_jwts(issuer: LocalIssuer) -> dict[str, str]:
    """A JWT for each reason; each but the forged one is wrong in one respect only."""
    now, stranger = int(NOW), SigningKey("key-1", serial=9)
    header = {"alg": "RS256", "kid": "key-1"}
    return {
        "malformed": issuer.token(NOW)[:-1] + "!",
        "header": issuer.keys[0].sign({**header, "crit": ["exp"]}, issuer.claims(NOW)),
        "issuer_unknown": issuer.token(NOW, iss="https://other.test"),
        "audience": issuer.token(NOW, aud="other"),
        "subject": issuer.token(NOW, sub=""),
        "expired": issuer.token(NOW, iat=now - 2 * HOUR, exp=now - HOUR),
        "not_yet_valid": issuer.token(NOW, nbf=now + HOUR, exp=now + 2 * HOUR),
        "lifetime": issuer.token(NOW, exp=now + 30 * 24 * HOUR),
        "key_unknown": issuer.token(NOW, key=SigningKey("key-9", serial=9)),
        "signature": stranger.sign(header, issuer.claims(NOW)),
        "caller_unknown": issuer.token(NOW),
    }


def audited(api: ApiInMemory) -> list[str | None]:
    """The reasons in the audit lines so far."""
    lines = [json.loads(AuditLines().line(event)) for event in api.sink.of(RequestDecided)]
    return [line.get("reason") for line in lines]


def counted(api: ApiInMemory) -> dict[str, float]:
    """The metric by reason, without the series that are 0."""
    registry = CollectorRegistry()
    sink = PrometheusSink(registry, api.clock, "1")
    for event in api.sink.all:
        sink.emit(event)
    sink.render()
    values = {
        reason: registry.get_sample_value("ims_token_broker_authentication_failures_total", {"reason": reason})
        for reason in RefusalReason
    }
    assert None not in values.values()
    return {reason.value: value for reason, value in values.items() if value}


async def asked(api: ApiInMemory, *authorization: str) -> AsgiResponse:
    """The answer to a request with these Authorization headers."""
    headers = [("Authorization", value) for value in authorization]
    return await send(api.app, "GET", f"/token?org={ORG}", (*headers, ("X-Request-Id", "same")), b"")


async def test_each_refused_jwt_has_its_reason_and_all_have_one_answer(api: ApiInMemory, issuer: LocalIssuer) -> None:
    """Ten ways to be unauthenticated are ten reasons in audit and metric, and ten identical answers."""
    jwts = refused_jwts(issuer)
    answers = {reason: await asked(api, f"Bearer {jwt}") for reason, jwt in jwts.items()}

    assert audited(api) == [*jwts]
    assert counted(api) == dict.fromkeys(jwts, 1.0)
    assert answers.pop("caller_unknown").status == 403
    assert {answer.status for answer in answers.values()} == {401}
    assert len({(answer.body, answer.headers) for answer in answers.values()}) == 1


async def test_an_unmatched_jwt_gets_the_answer_of_any_forbidden_org(api: ApiInMemory, issuer: LocalIssuer) -> None:
    """A valid JWT without a caller and a caller without a rule get identical answers; only the first has a reason."""
    unmatched = await asked(api, f"Bearer {issuer.token(NOW)}")
    api.change_policy(make_caller("journey", make_rule(OTHER_ORG)))
    without_rule = await asked(api, f"Bearer {make_api_key('journey')}")

    assert (unmatched.status, unmatched.body) == (without_rule.status, without_rule.body)
    assert audited(api) == ["caller_unknown", None]


async def test_a_jwt_of_two_callers_is_refused_with_the_names_of_both_for_the_operator(
    api: ApiInMemory, issuer: LocalIssuer
) -> None:
    """The event, which is logged, names them in order; the answer does not. A JWT of no caller names none."""
    both = {
        name: replace(make_caller(name), subjects=frozenset({(issuer.name, SUBJECT)})) for name in ("second", "first")
    }
    unmatched = await asked(api, f"Bearer {issuer.token(NOW)}")
    api.change_policy(*both.values())
    ambiguous = await asked(api, f"Bearer {issuer.token(NOW)}")

    assert [(event.reason, event.callers) for event in api.sink.of(CallerRefused)] == [
        ("caller_unknown", None),
        ("caller_ambiguous", ("first", "second")),
    ]
    assert ambiguous.body == unmatched.body


async def test_subject_and_issuer_are_named_only_if_the_signature_is_good(
    api: ApiInMemory, issuer: LocalIssuer
) -> None:
    """What the issuer signed is named, whatever else is wrong with it; what anyone can write is not."""
    for jwt in refused_jwts(issuer).values():
        await asked(api, f"Bearer {jwt}")
    forged = SigningKey("key-1", serial=9).sign({"alg": "RS256", "kid": "key-1"}, issuer.claims(NOW, aud="other"))
    await asked(api, f"Bearer {forged}")

    refused = api.sink.of(CallerRefused)
    named = {event.reason for event in refused if (event.issuer, event.subject) == (issuer.name, SUBJECT)}
    assert named == {"audience", "expired", "not_yet_valid", "lifetime", "caller_unknown"}
    assert all(event.issuer is None and event.subject is None for event in refused if event.reason not in named)
    assert (refused[-1].reason, refused[-1].issuer) == ("audience", None)


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        ((), "missing"),
        (("",), "missing"),
        (("Bearer",), "missing"),
        ((f"Bearer {make_api_key('journey')}", "Bearer x"), "repeated"),
        (("Digest x",), "scheme"),
        (("Bearer itb_x",), "malformed"),
        (("Bearer opaque",), "malformed"),
        ((f"Bearer {make_api_key('stranger')}",), "api_key_unknown"),
    ],
)
async def test_other_credentials_have_reasons_too(
    api: ApiInMemory, authorization: tuple[str, ...], reason: str
) -> None:
    """Whatever was sent instead of one JWT, the reason says what was wrong."""
    assert (await asked(api, *authorization)).status == 401
    assert audited(api) == [reason]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "missing"),
        ({"client_secret": make_api_key("journey")}, "client_id"),
        ({"client_id": "other", "client_secret": make_api_key("journey")}, "client_id"),
        ({"client_id": "journey", "client_secret": make_api_key("stranger")}, "api_key_unknown"),
        ({"client_assertion_type": ASSERTION, "client_assertion": make_api_key("journey")}, "scheme"),
        ({"client_assertion_type": ASSERTION, "client_assertion": "opaque"}, "malformed"),
    ],
)
async def test_the_clients_of_oauth2_have_reasons(api: ApiInMemory, fields: dict[str, str], reason: str) -> None:
    """A refused client of /oauth2/token is audited and counted with its reason, and answered as always."""
    answer = await api.form({"grant_type": "client_credentials", "org": ORG, **fields})
    assert (answer.status, answer.json["error"]) == (401, "invalid_client")
    assert audited(api) == [reason]
    assert counted(api) == {reason: 1.0}


async def test_a_refusal_after_authentication_has_no_reason(api: ApiInMemory) -> None:
    """A caller that is known but may not have the org was not refused for its credential."""
    await api.get("/token?org=FFFFFFFFFFFFFFFFFFFFFFFF@AdobeOrg")
    assert audited(api) == [None]
    assert counted(api) == {}
