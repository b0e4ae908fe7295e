"""TokenReview with an API server that lies, fails and hangs: a yes is short-lived, an unclear answer is refused."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.adapters.jwt_verifier import JwtCallerVerifier, Pace
from app.adapters.jwt_verifier.token_review import MAX_REVIEWS, NEGATIVE_SECONDS, PAUSE_SECONDS, POSITIVE_SECONDS
from app.domain.dependency_errors import IdentityUnavailableError
from app.domain.errors import UnauthenticatedError
from app.domain.events import DependencyCalled
from app.domain.identity import Issuer, JwtIdentity
from tests.support.fetches import Fetches
from tests.support.http_stand_in import ReceivedRequest, ScriptedReply, StandIn, stand_in
from tests.support.issuer import AUDIENCE, SUBJECT, LocalIssuer, local_issuer
from tests.support.manual_time import ManualTime

NOW = 1_900_000_000.0
YES = {"authenticated": True, "user": {"username": SUBJECT}, "audiences": [AUDIENCE]}


def review(**changes: object) -> ScriptedReply:
    """A TokenReview that says yes, with changes to its status; ... removes a field."""
    status = {name: value for name, value in {**YES, **changes}.items() if value is not ...}
    return ScriptedReply(201, {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status})


@dataclass
class ApiServer:
    """Answers reviews as the test sets."""

    reply: ScriptedReply = field(default_factory=review)
    gate: threading.Event = field(default_factory=threading.Event)

    def __call__(self, seen: ReceivedRequest) -> ScriptedReply:
        """Answer, once the gate is open."""
        self.gate.wait(10)
        return self.reply


@dataclass
class TokenReviewHarness:
    """A verifier with token review, its API server, its clock and its events."""

    verifier: JwtCallerVerifier
    issuer: LocalIssuer
    api: ApiServer
    server: StandIn
    time: ManualTime
    events: Fetches
    trusted: Issuer

    async def verify(self, token: str | None = None) -> JwtIdentity:
        """Verify a token; default: a valid one, always the same."""
        return await self.verifier.verify((token or self.issuer.token(NOW)).encode())

    @property
    def outcomes(self) -> list[str]:
        """The outcomes of the reviews so far."""
        calls = [event for event in self.events.all if isinstance(event, DependencyCalled)]
        return [call.outcome for call in calls if call.dependency == "token_review"]


@pytest.fixture(scope="module")
def issuer() -> Iterator[LocalIssuer]:
    """An issuer."""
    with local_issuer() as made:
        yield made


@pytest.fixture
async def harness(issuer: LocalIssuer, tmp_path: Path) -> AsyncIterator[TokenReviewHarness]:
    """A verifier that has the issuer's keys."""
    (tmp_path / "jwks.json").write_bytes(issuer.body())
    (tmp_path / "token").write_text("reviewer-1\n")
    time, events, api = ManualTime(), Fetches(), ApiServer()
    api.gate.set()
    verifier = JwtCallerVerifier(lambda: NOW, events, Pace(time.now, time.sleep, review_deadline=0.5))
    with stand_in(api) as server:
        trusted = Issuer(
            issuer.name,
            (AUDIENCE,),
            jwks_file=str(tmp_path / "jwks.json"),
            token_review_url=server.url,
            token_review_token_file=str(tmp_path / "token"),
        )
        verifier.trust((trusted,))
        await events.reach(1)
        yield TokenReviewHarness(verifier, issuer, api, server, time, events, trusted)
        api.gate.set()
        await verifier.aclose()


async def test_the_request_for_a_review(harness: TokenReviewHarness, tmp_path: Path) -> None:
    """The review asks the API server for our audience, with the current content of the token file."""
    token = harness.issuer.token(NOW)
    await harness.verify(token)
    (tmp_path / "token").write_text("reviewer-2")
    harness.time.advance(POSITIVE_SECONDS)
    await harness.verify(token)

    assert json.loads(harness.server.seen[0].body) == {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [AUDIENCE]},
    }
    assert [seen.headers["authorization"] for seen in harness.server.seen] == ["Bearer reviewer-1", "Bearer reviewer-2"]


async def test_a_token_that_is_refused_offline_is_not_reviewed(harness: TokenReviewHarness) -> None:
    """A token that is expired, forged or for another audience costs no call."""
    good = harness.issuer.token(NOW)
    for bad in (harness.issuer.token(NOW, aud="x"), harness.issuer.token(NOW - 9000), good[:-8] + "AAAAAAAA"):
        with pytest.raises(UnauthenticatedError):
            await harness.verify(bad)
    assert harness.server.seen == []


async def test_a_yes_is_cached_for_less_than_a_minute(harness: TokenReviewHarness) -> None:
    """A yes is cached, the identity says how long it is valid, and then the API server is asked again."""
    assert (await harness.verify()).expires_at == NOW + POSITIVE_SECONDS
    harness.time.advance(POSITIVE_SECONDS - 1)
    assert (await harness.verify()).expires_at == NOW + 1
    assert len(harness.server.seen) == 1
    harness.api.reply = review(authenticated=False)
    harness.time.advance(1)
    with pytest.raises(UnauthenticatedError):
        await harness.verify()
    assert POSITIVE_SECONDS <= 50


async def test_a_yes_ends_with_the_token(harness: TokenReviewHarness) -> None:
    """A cached yes does not outlive the token."""
    assert (await harness.verify(harness.issuer.token(NOW, exp=int(NOW) + 20))).expires_at == NOW + 20


async def test_a_no_is_cached_briefly(harness: TokenReviewHarness) -> None:
    """A refused token is not reviewed for each request, and is reviewed again some seconds later."""
    harness.api.reply = review(authenticated=False)
    for _ in range(3):
        with pytest.raises(UnauthenticatedError):
            await harness.verify()
    assert len(harness.server.seen) == 1
    harness.api.reply = review()
    harness.time.advance(NEGATIVE_SECONDS)
    assert (await harness.verify()).subject == SUBJECT


@pytest.mark.parametrize(
    "changes",
    [
        {"authenticated": False},
        {"authenticated": "true"},
        {"authenticated": 1},
        {"authenticated": ...},
        {"audiences": ["https://kubernetes.default.svc.cluster.local"]},
        {"audiences": []},
        {"audiences": ...},
        {"audiences": AUDIENCE},
        {"user": {"username": SUBJECT + "x"}},
        {"user": {}},
        {"user": ...},
        {"user": SUBJECT},
    ],
    ids=str,
)
async def test_an_incomplete_yes_is_a_no(harness: TokenReviewHarness, changes: dict[str, object]) -> None:
    """A review that does not name our audience, or names another user, refuses the token."""
    harness.api.reply = review(**changes)
    with pytest.raises(UnauthenticatedError):
        await harness.verify()


@pytest.mark.parametrize(
    "reply",
    [
        ScriptedReply(401),
        ScriptedReply(403, {"kind": "Status"}),
        ScriptedReply(404),
        ScriptedReply(429),
        ScriptedReply(500),
        ScriptedReply(302, b"", {"Location": "http://127.0.0.1:1/"}),
        ScriptedReply(201, b"<html>"),
        ScriptedReply(201, b"[]"),
        ScriptedReply(201, {"kind": "Status", "status": YES}),
        ScriptedReply(201, {"kind": "TokenReview"}),
        ScriptedReply(201, {"kind": "TokenReview", "status": YES, "x": "x" * 70_000}),
        ScriptedReply(201, {"kind": "TokenReview", "status": YES}, {"Content-Encoding": "gzip"}),
    ],
    ids=lambda reply: str(reply)[:60],
)
async def test_an_unclear_answer_is_unavailable(harness: TokenReviewHarness, reply: ScriptedReply) -> None:
    """If the API server says neither yes nor no, the error says so, and the answer is not cached as a no."""
    harness.api.reply = reply
    with pytest.raises(IdentityUnavailableError) as told:
        await harness.verify()
    assert told.value.retry_after > 0
    harness.api.reply = review()
    harness.time.advance(PAUSE_SECONDS)
    assert (await harness.verify()).subject == SUBJECT
    assert harness.outcomes == ["identity_unavailable", "ok"]


async def test_a_failing_server_gets_a_back_off(harness: TokenReviewHarness) -> None:
    """After a failure there are no reviews for a second, and a cached yes stays valid until it expires."""
    cached, other = harness.issuer.token(NOW), harness.issuer.token(NOW, jti="other")
    await harness.verify(cached)
    harness.api.reply = ScriptedReply(500)
    for _ in range(3):
        with pytest.raises(IdentityUnavailableError):
            await harness.verify(other)
    assert len(harness.server.seen) == 2
    harness.time.advance(POSITIVE_SECONDS - 1)
    assert (await harness.verify(cached)).subject == SUBJECT


async def test_a_server_that_hangs_costs_one_deadline(harness: TokenReviewHarness) -> None:
    """A review that times out fails for every request that waits for it, with one call."""
    harness.api.gate.clear()
    found = await asyncio.gather(*(harness.verify() for _ in range(50)), return_exceptions=True)
    assert {type(error) for error in found} == {IdentityUnavailableError}
    assert harness.outcomes == ["identity_unavailable"]


async def test_one_token_is_reviewed_once_at_a_time(harness: TokenReviewHarness) -> None:
    """Concurrent requests with one token cost one review, and a cancelled request does not cancel it for the others."""
    harness.api.gate.clear()
    impatient, *others = (asyncio.create_task(harness.verify()) for _ in range(20))
    await asyncio.sleep(0.05)
    impatient.cancel()
    harness.api.gate.set()
    assert {identity.subject for identity in await asyncio.gather(*others)} == {SUBJECT}
    assert len(harness.server.seen) == 1


async def test_reviews_are_bounded(harness: TokenReviewHarness) -> None:
    """With too many concurrent reviews, the next token gets an error to try again later."""
    harness.api.gate.clear()
    tokens = [harness.issuer.token(NOW, jti=str(number)) for number in range(MAX_REVIEWS + 1)]
    waiting = [asyncio.create_task(harness.verify(token)) for token in tokens[:-1]]
    await asyncio.sleep(0.05)
    with pytest.raises(IdentityUnavailableError):
        await asyncio.wait_for(harness.verify(tokens[-1]), 0.2)
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_policy_that_removes_the_review_takes_effect(harness: TokenReviewHarness) -> None:
    """Without the review URL an issuer's tokens are not reviewed; the cached keys are kept."""
    harness.verifier.trust((Issuer(harness.issuer.name, (AUDIENCE,), jwks_file=harness.trusted.jwks_file),))
    assert (await harness.verify()).expires_at == NOW + 600
    assert harness.server.seen == []
