"""Issuers' keys over real HTTP: rotation, floods, outages and forgeries, on a clock that the test advances."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest

from app.domain.errors import UnauthenticatedError
from tests.support.issuer import JwksAnswer, LocalIssuer, local_issuer
from tests.support.jwks_harness import DAY, NEW, NOW, OLD, STRANGER, JwksHarness, trusted


@pytest.fixture
def issuer() -> Iterator[LocalIssuer]:
    """An issuer with one key."""
    with local_issuer(OLD) as made:
        yield made


@pytest.fixture
async def harness() -> AsyncIterator[JwksHarness]:
    """A verifier that trusts no issuer yet."""
    made = JwksHarness()
    yield made
    await made.verifier.aclose()


@pytest.fixture
async def warm(harness: JwksHarness, issuer: LocalIssuer) -> JwksHarness:
    """A verifier that has the issuer's keys."""
    harness.verifier.trust((trusted(issuer),))
    await harness.fetches.reach(1)
    return harness


async def test_the_first_token_waits_for_the_first_fetch(harness: JwksHarness, issuer: LocalIssuer) -> None:
    """A token that arrives at the same time as the policy is verified, not answered with a 503."""
    harness.verifier.trust((trusted(issuer),))
    await harness.accepts(issuer.token(NOW))
    assert issuer.count == 1


async def test_verified_tokens_cost_no_fetch(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """Verification is offline once the keys are loaded."""
    for _ in range(100):
        await warm.accepts(issuer.token(NOW))
    assert issuer.count == 1


async def test_a_new_key_is_accepted_at_once(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """The first token of a rotated key triggers a fetch of the set, and waits for it."""
    issuer.keys = [NEW, OLD]
    await warm.accepts(issuer.token(NOW))
    await warm.accepts(issuer.token(NOW, key=OLD))
    assert issuer.count == 2


async def test_a_withdrawn_key_is_refused_after_the_next_refresh(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """A key that was removed from the set is refused from the next regular refresh on, 300 s later."""
    issuer.keys = [NEW]
    await warm.next_fetch(after=300.0)
    await warm.refuses(issuer.token(NOW, key=OLD))


@pytest.mark.parametrize("keys", [[], [{"kty": "oct", "k": "AAAA"}]], ids=["empty", "none usable"])
async def test_an_issuer_that_withdraws_all_its_keys_is_heard(
    warm: JwksHarness, issuer: LocalIssuer, caplog: pytest.LogCaptureFixture, keys: list[object]
) -> None:
    """From the next fetch on, its tokens are refused, not accepted for a day as in an outage; one log line says why."""
    issuer.answer = JwksAnswer(body=json.dumps({"keys": keys}).encode())
    await warm.next_fetch(after=300.0)
    await warm.next_fetch(after=300.0)
    await warm.refuses(issuer.token(NOW, key=OLD))
    said = [record.getMessage() for record in caplog.records if "no usable key" in record.getMessage()]
    assert said == [f"Issuer {issuer.name} publishes no usable key: all its JWTs are refused."]


async def test_new_keys_after_none_are_accepted_at_once(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """The first token of a new key triggers a fetch, so an issuer that published no key by mistake is back at once."""
    issuer.keys = []
    await warm.next_fetch(after=300.0)
    issuer.keys = [NEW]
    await warm.accepts(issuer.token(NOW))


async def test_many_waiters_share_one_fetch(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """A hundred concurrent first tokens of a new key cost one fetch, and all are accepted."""
    issuer.keys = [NEW]
    await asyncio.gather(*(warm.accepts(issuer.token(NOW)) for _ in range(100)))
    assert issuer.count == 2


async def test_a_flood_of_unknown_keys_costs_one_fetch(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """Forged key ids cause at most one fetch per 30 s, however many there are."""
    forged = [STRANGER.sign({"alg": "ES256", "kid": f"k{number}"}, issuer.claims(NOW)) for number in range(50)]
    await asyncio.gather(*(warm.refuses(token) for token in forged))
    for token in forged:
        await warm.refuses(token)
    assert issuer.count == 2
    warm.time.advance(29.0)
    await warm.refuses(forged[0])
    assert issuer.count == 2
    warm.time.advance(1.0)
    await warm.refuses(forged[0])
    assert issuer.count == 3


async def test_a_flood_does_not_delay_good_tokens(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """While the one fetch of a flood hangs, tokens of known keys are verified without waiting."""
    issuer.answer.hangs = True
    flood = asyncio.create_task(warm.cannot_tell(issuer.token(NOW, key=STRANGER)))
    await asyncio.sleep(0)
    async with asyncio.timeout(0.2):
        await warm.accepts(issuer.token(NOW))
    await flood
    assert issuer.count == 2


async def test_a_token_without_kid_finds_a_new_key(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """An issuer whose tokens name no key can rotate, too."""
    issuer.keys = [NEW]
    await warm.accepts(NEW.sign({"alg": "ES256"}, issuer.claims(NOW)))


async def test_a_bad_claim_costs_no_fetch(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """A token that is refused anyway cannot use up the one fetch that a rotation needs."""
    await warm.refuses(issuer.token(NOW, key=STRANGER, aud="other"))
    issuer.keys = [NEW]
    await warm.accepts(issuer.token(NOW))


async def test_an_outage_keeps_the_last_good_set_for_a_day(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """Tokens are verified for 24 h after the last success; then keys are unavailable until the issuer is back."""
    issuer.answer.status = 500
    await warm.next_fetch(after=300.0)
    warm.time.advance(DAY - 300.0)
    await warm.accepts(issuer.token(NOW))
    warm.time.advance(1.0)
    await warm.fetches.reach(3)
    await warm.cannot_tell(issuer.token(NOW))
    issuer.answer.status = 200
    await warm.next_fetch(after=30.0)
    await warm.accepts(issuer.token(NOW))


async def test_a_new_key_during_an_outage_is_unavailable(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """An unknown key is not a forgery while the issuer does not answer: 503, and the caller tries again."""
    issuer.answer.status = 503
    await warm.cannot_tell(issuer.token(NOW, key=NEW))
    await warm.accepts(issuer.token(NOW))


async def test_an_issuer_that_never_answered_is_unavailable(harness: JwksHarness, issuer: LocalIssuer) -> None:
    """Without a key set a token cannot be verified; fetches are retried with back-off until one succeeds."""
    issuer.answer.status = 500
    harness.verifier.trust((trusted(issuer),))
    await harness.cannot_tell(issuer.token(NOW))
    waits = []
    for count in range(1, 9):
        await harness.fetches.reach(count)
        waits += harness.time.waits
        harness.time.advance(waits[-1])
    assert waits == [0.75, 1.5, 3.0, 6.0, 12.0, 22.5, 22.5, 22.5]
    await harness.fetches.reach(9)
    issuer.answer.status = 200
    await harness.next_fetch(after=22.5)
    await harness.accepts(issuer.token(NOW))


async def test_an_invalid_token_is_refused_during_an_outage(harness: JwksHarness, issuer: LocalIssuer) -> None:
    """An unknown issuer, an expired token and a forged algorithm are 401 even while no keys are available."""
    issuer.answer.status = 500
    harness.verifier.trust((trusted(issuer),))
    await harness.refuses(issuer.token(NOW, iss="https://other.test"))
    await harness.refuses(issuer.token(NOW, iat=1, exp=2))
    await harness.refuses(OLD.sign({"alg": "none"}, issuer.claims(NOW)))


async def test_a_hanging_issuer_delays_a_request_no_longer_than_its_timeout(
    harness: JwksHarness, issuer: LocalIssuer
) -> None:
    """A request times out before the fetch does."""
    issuer.answer.hangs = True
    harness.verifier.trust((trusted(issuer),))
    async with asyncio.timeout(0.45):
        await harness.cannot_tell(issuer.token(NOW))
    issuer.release()


async def test_one_issuers_outage_does_not_affect_another(harness: JwksHarness, issuer: LocalIssuer) -> None:
    """While one issuer hangs, tokens of another are verified."""
    with local_issuer(NEW) as other:
        issuer.answer.hangs = True
        harness.verifier.trust((trusted(issuer), trusted(other)))
        await harness.accepts(other.token(NOW))
        issuer.release()


async def test_unchanged_issuers_keep_their_keys(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """A new policy with the same issuer triggers no fetch; one without the issuer ends the trust at once."""
    with local_issuer(NEW) as other:
        warm.verifier.trust((trusted(issuer), trusted(other)))
        await warm.accepts(issuer.token(NOW))
        await warm.accepts(other.token(NOW))
        assert issuer.count == 1
        await warm.time.asleep(2)
        warm.verifier.trust((trusted(other),))
        await warm.refuses(issuer.token(NOW))
        await warm.next_fetch(after=1000.0)
        assert issuer.count == 1


async def test_a_moved_key_set_is_read_again(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """If the issuer's URL changes, only keys from the new URL are trusted."""
    with local_issuer(NEW) as other:
        warm.verifier.trust((trusted(issuer, jwks_url=other.url),))
        await warm.accepts(issuer.token(NOW, key=NEW))
        await warm.refuses(issuer.token(NOW, key=OLD))


async def test_trust_withdrawn_during_a_fetch_takes_effect(harness: JwksHarness, issuer: LocalIssuer) -> None:
    """A token whose issuer is removed from the policy during the first fetch is not accepted."""
    issuer.answer.hangs = True
    harness.verifier.trust((trusted(issuer),))
    waiting = asyncio.create_task(harness.verifier.verify(issuer.token(NOW).encode()))
    await asyncio.sleep(0)
    harness.verifier.trust((trusted(issuer, audiences=("another",)),))
    issuer.release()
    with pytest.raises(UnauthenticatedError):
        await waiting


async def test_closing_ends_every_task(harness: JwksHarness, issuer: LocalIssuer) -> None:
    """No task runs after the close, not even a fetch that hangs."""
    before = asyncio.all_tasks()
    issuer.answer.hangs = True
    harness.verifier.trust((trusted(issuer),))
    await asyncio.sleep(0.05)
    await harness.verifier.aclose()
    assert asyncio.all_tasks() == before
    assert harness.fetches.outcomes == ["cancelled"]
    await harness.refuses(issuer.token(NOW))
    issuer.release()
