"""Admission of callers: exactly one credential per request, and no more requests than the limit."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from app.api.caller_gate import MAX_AUTHORIZATION_BYTES, CallerGate, VerifiedCallers, bearer_credential
from app.domain.dependency_errors import IdentityUnavailableError
from app.domain.errors import ForbiddenError, RateLimitedError, UnauthenticatedError
from app.domain.identity import JwtIdentity
from app.domain.policy import Policy
from app.domain.rate_limit import RateLimit
from app.service.reload import PolicyInForce
from tests.factories import ISSUER, make_api_key, make_caller, make_policy
from tests.fakes import FakePolicySource, FakeVerifier, ManualClock
from tests.support.recorded_events import RecordedEvents

KEY_HEADER = f"Bearer {make_api_key()}".encode()
JWT_HEADER = b"Bearer eyJ.some.jwt"
EXPORTER = make_caller("exporter", subject="exporter", api_keys=())


class Entrance:
    """A gate and its surroundings."""

    def __init__(self, policy: Policy) -> None:
        self.clock = ManualClock()
        self.verifier = FakeVerifier()
        self.policy = PolicyInForce(FakePolicySource(policy), self.verifier, RecordedEvents(), self.clock)
        self.policy.current = policy
        self.gate = CallerGate(self.policy, self.verifier, self.clock)

    def jwt(self, life: float = 600.0, subject: str = "exporter") -> JwtIdentity:
        """Make the verifier accept the JWT of `JWT_HEADER`."""
        identity = JwtIdentity(ISSUER.issuer, subject, self.clock() + life)
        self.verifier.known[b"eyJ.some.jwt"] = identity
        return identity


@pytest.fixture
def entrance() -> Entrance:
    """A gate for two callers."""
    return Entrance(make_policy(make_caller(), EXPORTER))


async def test_an_api_key_and_a_jwt_identify_their_callers(entrance: Entrance) -> None:
    """A key is found by its hash, a JWT by its issuer and subject; the scheme's case does not matter."""
    entrance.jwt()
    for header, name in (
        (KEY_HEADER, "journey"),
        (KEY_HEADER.replace(b"Bearer", b"bEARER"), "journey"),
        (JWT_HEADER, "exporter"),
        (KEY_HEADER.replace(b" ", b"  "), "journey"),
        (b" \t" + KEY_HEADER.replace(b" ", b"   ") + b" \t ", "journey"),
        (JWT_HEADER + b" ", "exporter"),
    ):
        assert (await entrance.gate.admit([header])).caller.name == name


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [KEY_HEADER, KEY_HEADER],
        [KEY_HEADER, b""],
        [b""],
        [b"Bearer"],
        [b"Bearer "],
        [b"  Bearer  "],
        [b" "],
        [KEY_HEADER.replace(b" ", b"\t")],
    ],
)
async def test_no_credential_or_several_are_unauthenticated(entrance: Entrance, headers: list[bytes]) -> None:
    """No credential, two, and an empty one are all unauthenticated, and no verifier is called."""
    with pytest.raises(UnauthenticatedError):
        await entrance.gate.admit(headers)
    assert entrance.verifier.verified == []


def test_a_header_of_more_than_16_kib_is_refused_unread() -> None:
    """The limit is exact."""
    filler = b"x" * (MAX_AUTHORIZATION_BYTES - len(b"Bearer "))
    assert bearer_credential(b"Bearer " + filler) == filler
    with pytest.raises(UnauthenticatedError):
        bearer_credential(b"Bearer " + filler + b"x")


async def test_an_unknown_key_is_unauthenticated_and_an_unmatched_jwt_is_forbidden(entrance: Entrance) -> None:
    """An unknown key proves nothing; a valid JWT proves an identity, but one that the policy does not name."""
    with pytest.raises(UnauthenticatedError):
        await entrance.gate.admit_credential(make_api_key("stranger").encode())
    entrance.jwt(subject="stranger")
    for _ in range(2):
        with pytest.raises(ForbiddenError):
            await entrance.gate.admit([JWT_HEADER])
    assert len(entrance.verifier.verified) == 2


async def test_unavailable_keys_are_not_blamed_on_the_caller(entrance: Entrance) -> None:
    """An outage of the issuer is reported as such, not as a bad credential."""
    entrance.verifier.failure = IdentityUnavailableError("no keys")
    with pytest.raises(IdentityUnavailableError):
        await entrance.gate.admit([JWT_HEADER])


async def test_a_key_is_remembered_until_the_policy_changes(entrance: Entrance) -> None:
    """Under a new policy, even an equal one, the credential is verified again."""
    memory = entrance.gate.headers
    assert memory.recall(KEY_HEADER, entrance.clock()) is None
    admission = await entrance.gate.admit([KEY_HEADER])
    assert memory.recall(KEY_HEADER, entrance.clock() + 1e9) is admission
    assert memory.recall(KEY_HEADER + b"x", entrance.clock()) is None
    entrance.policy.current = make_policy(make_caller(), EXPORTER)
    assert memory.recall(KEY_HEADER, entrance.clock()) is None
    assert (await entrance.gate.admit([KEY_HEADER])).policy is entrance.policy.current


@pytest.mark.parametrize(("life", "remembered"), [(600.0, 60.0), (30.0, 30.0)])
async def test_a_jwt_is_verified_once_a_minute_and_never_remembered_past_its_expiry(
    entrance: Entrance, life: float, remembered: float
) -> None:
    """It is remembered until it expires, at most 60 s after its verification, however often it is used."""
    entrance.jwt(life)
    for _ in range(10):
        assert (await entrance.gate.admit([JWT_HEADER])).caller is EXPORTER
        entrance.clock.advance((remembered - 0.1) / 10)
    assert len(entrance.verifier.verified) == 1
    assert entrance.gate.headers.recall(JWT_HEADER, entrance.clock()) is not None
    entrance.clock.advance(0.1)
    assert entrance.gate.headers.recall(JWT_HEADER, entrance.clock()) is None


async def test_a_jwt_whose_policy_changed_while_it_was_verified_is_not_remembered(entrance: Entrance) -> None:
    """It may have been verified with the keys of the issuer under the old policy."""
    entrance.jwt()
    entrance.verifier.hall.close()
    task = asyncio.create_task(entrance.gate.admit([JWT_HEADER]))
    await entrance.verifier.hall.arrival()
    entrance.policy.current = make_policy(make_caller(), EXPORTER)
    entrance.verifier.hall.open()
    assert (await task).policy is entrance.policy.current
    assert entrance.gate.headers.recall(JWT_HEADER, entrance.clock()) is None


async def test_an_admission_under_an_older_policy_is_renewed_but_never_remembered(entrance: Entrance) -> None:
    """The new policy names the caller or refuses it; its credential is verified again at the next request."""
    gate = entrance.gate
    admission = await gate.admit([KEY_HEADER])
    assert gate.renewed(admission) is admission
    entrance.policy.current = make_policy(make_caller(), EXPORTER)
    gate.forms.remember(b"form", admission)
    renewed = gate.renewed(admission)
    assert renewed.caller is entrance.policy.current.callers[0]
    gate.forms.remember(b"form", renewed)
    assert gate.forms.recall(b"form", entrance.clock()) is None
    entrance.policy.current = make_policy(EXPORTER)
    with pytest.raises(UnauthenticatedError):
        gate.renewed(admission)


async def test_a_credential_is_remembered_only_for_the_place_where_it_was_sent(entrance: Entrance) -> None:
    """A bare credential of a form is not remembered as an Authorization header, or the other way round."""
    entrance.jwt()
    await entrance.gate.admit_credential(b"eyJ.some.jwt")
    await entrance.gate.admit([KEY_HEADER])
    with pytest.raises(UnauthenticatedError):
        await entrance.gate.admit([b"eyJ.some.jwt"])
    assert entrance.gate.credentials.recall(KEY_HEADER, entrance.clock()) is None
    assert entrance.gate.forms.recall(KEY_HEADER, entrance.clock()) is None


async def test_no_credential_is_kept(entrance: Entrance) -> None:
    """Only the hash of the header is kept, not the header."""
    await entrance.gate.admit([KEY_HEADER])
    known = entrance.gate.headers._known
    assert len(known) == 1
    assert make_api_key().encode() not in repr(known).encode()


def test_a_limit_admits_its_number_and_then_says_how_long_to_wait() -> None:
    """A limit of two a second admits two at once, then one each half second; a caller without a limit has none."""
    limited, free = make_caller("limited", rate_limit=RateLimit(2, 1.0)), make_caller("free")
    entrance = Entrance(make_policy(limited, free))
    for _ in range(2):
        entrance.gate.count(limited)
    with pytest.raises(RateLimitedError) as over:
        entrance.gate.count(limited)
    assert over.value.retry_after == pytest.approx(0.5)
    entrance.clock.advance(0.5)
    entrance.gate.count(limited)
    for _ in range(100):
        entrance.gate.count(free)


def test_a_reload_of_the_policy_does_not_refill_a_limit() -> None:
    """The bucket belongs to the caller's name and limit, not to a policy version."""
    first, again = (
        make_caller("limited", rate_limit=RateLimit(1, 60.0)),
        make_caller("limited", rate_limit=RateLimit(1, 60.0)),
    )
    entrance = Entrance(make_policy(first))
    entrance.gate.count(first)
    entrance.policy.current = make_policy(again)
    with pytest.raises(RateLimitedError):
        entrance.gate.count(again)


def test_only_callers_of_the_policy_have_a_bucket() -> None:
    """A policy that drops a caller or changes its limit drops its bucket: there is at most one bucket per caller."""
    callers = [make_caller(f"caller-{number}", rate_limit=RateLimit(1, 60.0)) for number in range(5)]
    entrance = Entrance(make_policy(*callers))
    for _ in range(20):
        for caller in callers:
            with contextlib.suppress(RateLimitedError):
                entrance.gate.count(caller)
    assert len(entrance.gate._buckets) == 5
    kept = entrance.gate.bucket(callers[0])
    other = make_caller("caller-1", rate_limit=RateLimit(2, 60.0))
    entrance.policy.current = make_policy(callers[0], other)
    entrance.gate.count(other)
    assert len(entrance.gate._buckets) == 2
    assert entrance.gate.bucket(callers[0]) is kept


async def test_the_memory_of_callers_drops_the_oldest(entrance: Entrance) -> None:
    """Each new entry replaces the oldest one."""
    memory = VerifiedCallers(entrance.policy, limit=10)
    admission = await entrance.gate.admit([KEY_HEADER])
    for number in range(100):
        memory.remember(b"proof %d" % number, admission)
    assert [memory.recall(b"proof %d" % number, 0.0) for number in (89, 90, 99)] == [None, admission, admission]


async def test_one_caller_does_not_evict_the_proofs_of_others(entrance: Entrance) -> None:
    """An API key can be sent with any number of spaces before it, and each header is another proof."""
    entrance.policy.current = make_policy(make_caller("journey"), make_caller("other"))
    memory = VerifiedCallers(entrance.policy, limit=10)
    other = await entrance.gate.admit([f"Bearer {make_api_key('other')}".encode()])
    journey = await entrance.gate.admit([KEY_HEADER])
    memory.remember(b"proof of the other", other)
    for number in range(100):
        memory.remember(b"proof %d" % number, journey)
    assert memory.recall(b"proof of the other", 0.0) is other
