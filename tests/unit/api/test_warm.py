"""The warm path gives the same answer as the long path, or none."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import weakref
from collections.abc import Mapping
from dataclasses import replace

import pytest

from app.api.caller_gate import proof_of
from app.api.prepared import Prepared
from app.api.warm import WarmPath
from app.api.warm_memory import MAX_PREPARED, MAX_SPELLINGS
from app.domain.dependency_errors import ImsUnavailableError
from app.domain.events import RequestDecided
from app.domain.identity import JwtIdentity
from app.domain.policy import Caller
from app.domain.rate_limit import RateLimit
from tests.factories import (
    ISSUER,
    KEY,
    ORG,
    OTHER_KEY,
    OTHER_ORG,
    REF,
    make_api_key,
    make_caller,
    make_key,
    make_policy,
    make_rule,
)
from tests.fakes import DAY
from tests.support.api_in_memory import EXPORTER, TOKEN, ApiInMemory
from tests.support.asgi_client import AsgiResponse
from tests.support.remembered_queries import RememberedQueries, authorization_of
from tests.support.waiting import until

SAME_ID = ("X-Request-Id", "same-id")
HEADER = f"Bearer {make_api_key()}".encode()


def paths(api: ApiInMemory) -> Mapping[str, WarmPath]:
    """The warm paths of the app."""
    warm: Mapping[str, WarmPath] = api.app.warm._paths
    return warm


def is_warm(api: ApiInMemory, target: str = TOKEN, name: str = "journey") -> bool:
    """Whether such a request would be answered on the warm path. It counts against a limit."""
    authorization = f"Bearer {make_api_key(name)}".encode()
    path, _, query = target.partition("?")
    return isinstance(paths(api)[path].decide(proof_of(authorization), query.encode(), api.clock()), Prepared)


def comparable(answer: AsgiResponse) -> tuple[int, list[tuple[str, str]], bytes]:
    """An answer without the order of its headers."""
    return answer.status, sorted(answer.headers), answer.body


async def test_warm_and_long_answers_are_identical(api: ApiInMemory) -> None:
    """Status, headers and body of the warm answer equal those of the long answer in the same second."""
    long = await api.get(TOKEN, SAME_ID)
    assert is_warm(api)
    assert comparable(await api.get(TOKEN, SAME_ID)) == comparable(long)


async def test_both_paths_report_the_same_decision(api: ApiInMemory) -> None:
    """Except for the tier, the events of a cold and a warm request are equal."""
    await api.get()
    await api.get()
    long, short = (event.decision for event in api.sink.of(RequestDecided))
    names = (
        "endpoint",
        "action",
        "outcome",
        "caller",
        "api_key_sha256",
        "org",
        "credential",
        "scope",
        "generation",
        "token_sha256",
    )
    assert [getattr(long, name) for name in names] == [getattr(short, name) for name in names]
    assert (long.tier, short.tier) == ("exchange", "memory")


async def test_the_api_key_of_each_request_is_reported() -> None:
    """Each request of a caller with two API keys is reported with its key, warm or not; one with a JWT without."""
    keys = [make_api_key(name) for name in ("journey", "other")]
    api = ApiInMemory(make_caller("journey", make_rule(ORG), subject="journey", api_keys=keys))
    api.verifier.known[b"eyJ.a.b"] = JwtIdentity(ISSUER.issuer, "journey", api.clock() + 600)
    for credential in [*keys, "eyJ.a.b"] * 2:
        assert (await api.get(TOKEN, ("Authorization", f"Bearer {credential}"), caller=None)).status == 200
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    found = [event.decision.api_key_sha256 for event in api.sink.of(RequestDecided)]
    assert found == [*digests, None] * 2


async def test_the_prepared_answer_counts_down(api: ApiInMemory) -> None:
    """The remaining seconds are correct in every second, although the answer is prepared once per second."""
    await api.get()
    for seconds in range(1, 200):
        api.clock.advance(0.5)
        assert (await api.get()).json["expires_in"] == int(DAY - seconds * 0.5)


async def test_another_spelling_of_a_query_is_remembered_separately_with_the_same_token(api: ApiInMemory) -> None:
    """The raw query identifies the prepared answer, but never the token."""
    first = await api.get()
    other = await api.get(TOKEN.replace("@", "%40"))
    assert first.json["access_token"] == other.json["access_token"]
    assert api.world.exchanges == 1


async def test_a_callers_warm_answer_is_not_given_to_another(api: ApiInMemory) -> None:
    """A warm query of one caller does not answer another, whose rule may differ."""
    await api.get(f"/token?org={OTHER_ORG}", caller="operator")
    assert is_warm(api, f"/token?org={OTHER_ORG}", "operator")
    assert not is_warm(api, f"/token?org={OTHER_ORG}", "journey")
    assert (await api.get(f"/token?org={OTHER_ORG}")).code == "forbidden"


async def test_a_warm_answer_ends_with_its_rule(api: ApiInMemory) -> None:
    """At the rule's `not_after` its warm answers end, without a reload, and the next request is refused."""
    ending = replace(make_rule(ORG), not_after=api.clock() + 10)
    api.source.content = make_policy(make_caller("journey", ending), version="ending")
    await api.policy.load()
    ends = asyncio.create_task(api.policy.watch_ends())
    await api.get()
    assert is_warm(api)
    api.clock.advance(10)
    await until(lambda: not is_warm(api))
    assert (await api.get()).code == "forbidden"
    ends.cancel()


async def test_after_a_change_of_the_policy_nothing_is_warm(api: ApiInMemory) -> None:
    """A caller whose rule is gone gets 403 at the next request, one whose key is gone 401."""
    await api.get()
    api.change_policy(make_caller("journey", make_rule(OTHER_ORG)))
    assert not is_warm(api)
    assert (await api.get()).code == "forbidden"
    api.change_policy(make_caller("another"))
    assert (await api.get()).code == "unauthenticated"


async def test_a_policy_that_narrows_the_scopes_narrows_the_next_answer(api: ApiInMemory) -> None:
    """The token with all scopes is not answered under a rule with one."""
    assert (await api.get()).json["scope"] == "AdobeID openid session"
    api.change_policy(make_caller("journey", make_rule(ORG, scopes="openid")))
    assert (await api.get()).json["scope"] == "openid"


async def test_after_a_purge_the_old_answer_is_gone(api: ApiInMemory) -> None:
    """Neither a purge made here nor one received from another replica leaves a prepared answer."""
    values = [(await api.get()).json["access_token"]]
    await api.replica.purges.purge(REF)
    assert not is_warm(api)
    values.append((await api.get()).json["access_token"])
    api.replica.epochs.learn(REF, api.replica.epochs.of(REF) + 1)
    assert not is_warm(api)
    values.append((await api.get()).json["access_token"])
    assert len(set(values)) == 3


async def test_an_expired_token_is_not_answered(api: ApiInMemory) -> None:
    """At the end of its usable lifetime the token is not answered, even if all dependencies are down.

    A critical one is answered by the long path.
    """
    await api.get()
    token = api.replica.memory.get(KEY)
    assert token is not None
    api.world.exchanger.failures[ORG] = ImsUnavailableError("down")
    api.world.redis_down()
    api.clock.now = token.critical_from - 0.5
    assert is_warm(api)
    for at in (token.critical_from, token.usable_until - 0.5):
        api.clock.now = at
        assert not is_warm(api)
        assert (await api.get()).json["expires_in"] == int(token.expires_at - at)
        await api.replica.until_idle()
    api.clock.now = token.usable_until
    assert not is_warm(api)
    assert (await api.get()).code == "ims_unavailable"


async def test_an_aging_token_is_answered_warm_with_one_refresh_in_the_background(api: ApiInMemory) -> None:
    """The answers do not wait; afterwards the new token is the warm one."""
    first = await api.get()
    api.clock.advance(DAY * 0.6)
    api.world.exchanger.calls(ORG).pause()
    values = {(await api.get()).json["access_token"] for _ in range(50)}
    assert values == {first.json["access_token"]}
    await api.world.exchanger.calls(ORG).one_waits()
    api.world.exchanger.calls(ORG).resume()
    await api.replica.until_idle()
    renewed = await api.get()
    assert renewed.json["access_token"] not in values
    assert renewed.json["expires_in"] == int(DAY)
    assert api.world.exchanges == 2


async def test_min_ttl_is_respected_on_the_warm_path(api: ApiInMemory) -> None:
    """As soon as the token has less lifetime left than requested, the long path mints another."""
    target = f"{TOKEN}&min_ttl=43000"
    first = await api.get(target)
    api.clock.advance(DAY - 43_000)
    assert is_warm(api, target)
    api.clock.advance(0.5)
    assert not is_warm(api, target)
    assert (await api.get(target)).json["access_token"] != first.json["access_token"]


async def test_a_request_is_counted_once_on_either_path_or_from_one_to_the_other() -> None:
    """With a limit of ten a minute ten requests pass, whichever path each of them takes."""
    api = ApiInMemory(make_caller("journey", rate_limit=RateLimit(10, 60.0)))
    targets = [TOKEN, TOKEN, TOKEN, f"{TOKEN}&min_ttl=1", f"{TOKEN}&min_ttl=1", TOKEN]
    statuses = [(await api.get(target)).status for target in targets]
    for _ in range(2):  # Caller and query are known, but no token: begun on the warm path, ended on the long one.
        api.replica.memory.drop(REF)
        statuses.append((await api.get()).status)
    statuses += [(await api.get("/token?org=nonsense")).status, (await api.get()).status]
    assert statuses == [200] * 8 + [400, 200]
    over = await api.get()
    assert over.code == "rate_limited"
    assert over.header("retry-after") == "6"
    assert (await api.get(f"{TOKEN}&min_ttl=1")).status == 429
    api.clock.advance(6.0)
    assert (await api.get()).status == 200
    assert (await api.get()).status == 429


async def test_one_caller_over_its_limit_does_not_affect_others() -> None:
    """Only the flooding caller is limited."""
    api = ApiInMemory(make_caller("flood", rate_limit=RateLimit(1, 60.0)), make_caller("journey"))
    answers = await asyncio.gather(*(api.get(caller="flood") for _ in range(50)))
    assert sorted(answer.status for answer in answers) == [200] + [429] * 49
    assert (await api.get()).status == 200


async def test_a_jwt_is_verified_again_after_a_minute_and_at_its_expiry() -> None:
    """The warm path skips the verifier, but never for longer than a minute or past exp."""
    api = ApiInMemory(EXPORTER)
    api.verifier.known[b"eyJ.a.b"] = JwtIdentity(ISSUER.issuer, "exporter", api.clock() + 90.0)
    authorization = ("Authorization", "Bearer eyJ.a.b")
    for _ in range(5):
        assert (await api.get(TOKEN, authorization, caller=None)).status == 200
    assert len(api.verifier.verified) == 1
    api.clock.advance(60.0)
    assert (await api.get(TOKEN, authorization, caller=None)).status == 200
    assert len(api.verifier.verified) == 2
    del api.verifier.known[b"eyJ.a.b"]  # It has expired, as the verifier would find.
    api.clock.advance(30.0)
    assert (await api.get(TOKEN, authorization, caller=None)).code == "unauthenticated"


async def test_a_refused_request_does_not_become_warm(api: ApiInMemory) -> None:
    """Only a request that was answered with a token becomes warm."""
    await api.get(f"/token?org={OTHER_ORG}")
    await api.get("/token?org=x")
    await api.get(caller="stranger")
    assert [path._taught.queries for path in paths(api).values()] == [{}, {}]


async def test_of_the_spellings_of_a_query_only_the_latest_are_remembered(api: ApiInMemory) -> None:
    """A caller can spell a query in any number of ways; they replace each other, whatever room there is."""
    warm, token = RememberedQueries(api, 10**9), (await api.replica.vend()).token
    for number in range(10 * MAX_SPELLINGS):
        await warm.learn(f"spelling {number}", token)
    known = [warm.knows(f"spelling {number}") for number in range(10 * MAX_SPELLINGS)]
    assert known == [False] * 9 * MAX_SPELLINGS + [True] * MAX_SPELLINGS
    assert len(warm.memory.queries) == MAX_SPELLINGS
    await warm.learn("spelling 0", token)
    assert warm.knows("spelling 0")
    assert not warm.knows(f"spelling {9 * MAX_SPELLINGS}")


async def test_a_caller_that_asks_for_very_much_evicts_only_its_own_queries(api: ApiInMemory) -> None:
    """Once the memory is full, its new queries replace its own oldest ones, and another caller's query stays warm."""
    warm, token = RememberedQueries(api, 100_000), (await api.replica.vend()).token
    other = (await api.replica.vend(OTHER_KEY)).token
    await warm.learn("its only query", token, "operator")
    for number in range(3):
        await warm.learn(f"spelling {number}", token)
    for number in range(1000):
        await warm.learn(f"query {number}", replace(other, key=make_key(scopes=f"s{number}")))
    assert warm.knows("its only query", "operator")
    assert not warm.knows("spelling 0")
    assert 50 < len(warm.memory.queries) < 1000
    assert warm.memory.queries.used <= 100_000
    # Nothing else is left of what was dropped.
    assert sorted(warm.memory.queries._vended.values(), key=id) == sorted(
        {id(taught.vended): taught.vended for taught in warm.memory.queries.values()}.values(), key=id
    )


async def test_a_very_long_query_is_not_remembered(api: ApiInMemory) -> None:
    """It is answered by the long path each time."""
    long_query = f"{TOKEN}&scope=openid{'+' * 2000}"
    assert (await api.get(long_query)).status == 200
    assert not is_warm(api, long_query)


async def test_only_the_latest_answers_are_held(api: ApiInMemory) -> None:
    """What was prepared for others is dropped, with the copy of the token, and prepared again when asked for."""
    warm, token = RememberedQueries(api, 10**9), (await api.replica.vend()).token
    await warm.learn("first", token)
    assert warm.knows("first")
    first = warm.memory.queries._vended["/token", *await caller_of(warm), KEY]
    assert first.prepared is not None
    for number in range(MAX_PREPARED):
        key = make_key(scopes=f"s{number}")
        api.replica.memory.put(replace(token, key=key))
        await warm.learn(f"query {number}", replace(token, key=key))
        assert warm.knows(f"query {number}")
    assert first.prepared is None
    assert token.value not in "".join(str(getattr(first, name)) for name in first.__slots__)
    api.replica.memory.put(token)  # Its credential has too many tokens.
    assert warm.knows("first")


async def test_a_change_of_the_policy_lets_go_of_all_answers(api: ApiInMemory) -> None:
    """Answers that were prepared under an earlier policy, with their tokens, do not stay in memory."""
    warm, token = RememberedQueries(api, 10**9), (await api.replica.vend()).token
    await warm.learn("query", token)
    prepared = warm.path.decide(proof_of(authorization_of("journey")), b"query", api.clock())
    assert prepared is not None
    answered = weakref.ref(prepared.decision)
    del prepared
    api.source.content = make_policy(make_caller("journey", make_rule(ORG)), version="next")
    await api.policy.load()
    await warm.learn("query", token)
    gc.collect()
    assert answered() is None


async def test_a_query_that_was_evicted_holds_no_answer(api: ApiInMemory) -> None:
    """The copy of the token goes with the query."""
    warm, token = RememberedQueries(api, 2_000), (await api.replica.vend()).token
    await warm.learn("first", token)
    assert warm.knows("first")
    first = warm.memory.queries._vended["/token", *await caller_of(warm), KEY]
    for number in range(10):
        await warm.learn(f"query {number}", replace(token, key=make_key(scopes=f"s{number}")))
    assert not warm.knows("first")
    assert first.prepared is None


async def caller_of(warm: RememberedQueries) -> tuple[Caller, str | None]:
    """The caller of the fixture, as the memory knows it."""
    admission = await warm.gate.admit([HEADER])
    return admission.caller, admission.api_key_sha256


async def test_all_spellings_of_a_query_share_one_prepared_answer(api: ApiInMemory) -> None:
    """It is prepared once per caller and token, so that a spelling costs few bytes; another caller has its own."""
    await api.get()
    await api.get(TOKEN.replace("@", "%40"))
    await api.get(caller="operator")
    prepared = [
        paths(api)["/token"].decide(proof_of(f"Bearer {make_api_key(name)}".encode()), query.encode(), api.clock())
        for name, query in (
            ("journey", f"org={ORG}"),
            ("journey", f"org={ORG}".replace("@", "%40")),
            ("operator", f"org={ORG}"),
        )
    ]
    assert prepared[0] is not None
    assert prepared[1] is prepared[0]
    assert prepared[2] is not None
    assert prepared[2].decision.caller == "operator"


@pytest.mark.parametrize("path", ["/token", "/headers"])
async def test_a_prepared_answer_does_not_show_its_token(api: ApiInMemory, path: str) -> None:
    """The token is in the answer, and in no repr of what the warm path remembers."""
    await api.get(f"{path}?org={ORG}")
    assert is_warm(api, f"{path}?org={ORG}")
    token = api.replica.memory.get(KEY)
    assert token is not None
    prepared = paths(api)[path].decide(proof_of(HEADER), f"org={ORG}".encode(), api.clock())
    assert isinstance(prepared, Prepared)
    assert token.value.encode() in prepared.answer.body + b"".join(value for _, value in prepared.answer.headers)
    shown = repr((prepared, paths(api)[path]._taught.queries))
    assert "journey" in shown
    assert token.value not in shown


async def test_two_authorization_headers_are_never_warm(api: ApiInMemory) -> None:
    """The same valid credential sent twice is refused like any two."""
    await api.get()
    good = f"Bearer {make_api_key()}"
    assert (await api.get(TOKEN, ("Authorization", good))).code == "unauthenticated"
    assert (await api.get(TOKEN, ("Authorization", good), ("Authorization", good))).code == "unauthenticated"
    assert (await api.get(TOKEN, ("Authorization", ""), ("Authorization", good), caller=None)).status == 401


@pytest.mark.parametrize(("method", "path"), [("POST", "/token"), ("GET", "/token/"), ("GET", "//token")])
async def test_only_get_of_the_exact_path_is_warm(api: ApiInMemory, method: str, path: str) -> None:
    """Another method or path is not answered with a token because its query is warm."""
    await api.get()
    answer = await api.ask(method, f"{path}?org={ORG}")
    assert answer.status in {404, 405}
