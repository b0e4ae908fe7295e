"""Expired JWTs are recognised without another verification, and only those that an issuer signed are remembered."""

from __future__ import annotations

import asyncio

import pytest

from app.api.expired_jwts import MAX_EXPIRED, ExpiredJwts
from app.domain.errors import UnauthenticatedError
from app.domain.refusal_reason import RefusalReason, SignedFor
from tests.factories import ISSUER, make_policy
from tests.support.api_in_memory import ApiInMemory

POLICY = make_policy()
EXPIRED = UnauthenticatedError(RefusalReason.EXPIRED, SignedFor(ISSUER.issuer, "exporter"))
JWT = ("Authorization", "Bearer eyJ.expired.b")


def test_it_is_refused_again_for_the_same_reason_and_subject() -> None:
    """As long as the policy and the direction of time are the same."""
    expired = ExpiredJwts()
    expired.remember(b"digest", EXPIRED, POLICY, now=10.0)
    refused = expired.recall(b"digest", POLICY, now=10.0)
    assert refused is not None
    assert (refused.reason, refused.signed_for) == (EXPIRED.reason, EXPIRED.signed_for)
    assert refused is not EXPIRED, "an error that is raised twice would keep what its first request had"
    assert expired.recall(b"digest", POLICY, now=9.9) is None, "it may be valid again by a clock that was set back"
    assert expired.recall(b"other", POLICY, now=10.0) is None
    other = make_policy()
    assert expired.recall(b"digest", other, now=10.0) is None
    expired.remember(b"other", EXPIRED, other, now=10.0)
    assert expired.recall(b"digest", POLICY, now=10.0) is None
    assert len(expired._since) == 1


@pytest.mark.parametrize(
    "error",
    [
        UnauthenticatedError(RefusalReason.EXPIRED),
        UnauthenticatedError(RefusalReason.NOT_YET_VALID, EXPIRED.signed_for),
        UnauthenticatedError(RefusalReason.REVIEW, EXPIRED.signed_for),
        UnauthenticatedError(RefusalReason.SIGNATURE),
    ],
)
def test_nothing_else_is_remembered(error: UnauthenticatedError) -> None:
    """Neither a JWT that no issuer signed, which anyone can write, nor one that time may make valid."""
    expired = ExpiredJwts()
    expired.remember(b"digest", error, POLICY, now=10.0)
    assert expired.recall(b"digest", POLICY, now=10.0) is None


def test_they_are_bounded_and_a_subject_replaces_only_its_own() -> None:
    """One subject can obtain any number of JWTs."""
    expired = ExpiredJwts()
    other = UnauthenticatedError(RefusalReason.EXPIRED, SignedFor(ISSUER.issuer, "other"))
    expired.remember(b"of the other", other, POLICY, now=0.0)
    for number in range(MAX_EXPIRED + 10):
        expired.remember(b"%d" % number, EXPIRED, POLICY, now=0.0)
    assert len(expired._since) == MAX_EXPIRED
    assert expired.recall(b"of the other", POLICY, now=0.0) is not None
    assert expired.recall(b"0", POLICY, now=0.0) is None


async def test_an_expired_jwt_is_verified_once(api: ApiInMemory) -> None:
    """Then it is refused from memory, on every endpoint; and again only under another policy, or at an earlier time."""
    api.verifier.refused[b"eyJ.expired.b"] = EXPIRED
    for target in ("/token", "/headers", "/orgs", "/token"):
        assert (await api.get(target, JWT, caller=None)).status == 401
    assert len(api.verifier.verified) == 1
    api.clock.advance(-1.0)
    assert (await api.get("/orgs", JWT, caller=None)).status == 401
    assert len(api.verifier.verified) == 2
    api.change_policy()
    assert (await api.get("/orgs", JWT, caller=None)).status == 401
    assert len(api.verifier.verified) == 3


async def test_a_policy_that_changes_during_the_verification_is_not_mistaken_for_the_one_before(
    api: ApiInMemory,
) -> None:
    """The JWT was refused under the policy before, whose issuer may have accepted other audiences."""
    api.verifier.refused[b"eyJ.expired.b"] = EXPIRED
    api.verifier.calls.pause()
    asked = asyncio.create_task(api.get("/orgs", JWT, caller=None))
    await api.verifier.calls.one_waits()
    api.change_policy()
    api.verifier.calls.resume()
    assert (await asked).status == 401
    assert (await api.get("/orgs", JWT, caller=None)).status == 401
    assert len(api.verifier.verified) == 2
