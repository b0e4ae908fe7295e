"""Admission of callers: exactly one credential per request, and no more requests than the limit."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from app.adapters.memory_cache import MemoryLimitShares
from app.api.authorization import MAX_AUTHORIZATION_BYTES, bearer_credential
from app.api.caller_gate import CallerGate, VerifiedCallers, proof_of
from app.domain.dependency_errors import IdentityUnavailableError
from app.domain.errors import ForbiddenError, RateLimitedError, UnauthenticatedError
from app.domain.identity import JwtIdentity
from app.domain.policy import Policy
from app.domain.rate_limit import RateLimit
from app.service.fleet_limits import FleetLimits
from app.service.reload import PolicyInForce
from tests.factories import ISSUER, make_api_key, make_caller, make_policy
from tests.fakes import FakePolicySource, FakeVerifier, ManualClock
from tests.support.recorded_events import RecordedEvents

KEY_HEADER = f"Bearer {make_api_key()}".encode()
JWT_HEADER = b"Bearer eyJ.some.jwt"
EXPORTER = make_caller("exporter", subject="exporter", api_keys=())


class GateHarness:
    """A gate and its surroundings."""

    def __init__(self, policy: Policy) -> None:
        self.clock = ManualClock()
        self.verifier = FakeVerifier()
        self.policy = PolicyInForce(FakePolicySource(policy), self.verifier, RecordedEvents(), self.clock)
        self.policy.current = policy
        fleet = FleetLimits(self.policy, MemoryLimitShares(self.clock), "replica", self.clock)
        self.gate = CallerGate(self.policy, self.verifier, self.clock, fleet)

    def jwt(self, life: float = 600.0, subject: str = "exporter") -> JwtIdentity:
        """Make the verifier accept the JWT of `JWT_HEADER`."""
        identity = JwtIdentity(ISSUER.issuer, subject, self.clock() + life)
        self.verifier.known[b"eyJ.some.jwt"] = identity
        return identity


@pytest.fixture
def harness() -> GateHarness:
    """A gate for two callers."""
    return GateHarness(make_policy(make_caller(), EXPORTER))


async def test_an_api_key_and_a_jwt_identify_their_callers(harness: GateHarness) -> None:
    """A key is found by its hash, a JWT by its issuer and subject; the scheme's case does not matter."""
    harness.jwt()
    for header, name in (
        (KEY_HEADER, "journey"),
        (KEY_HEADER.replace(b"Bearer", b"bEARER"), "journey"),
        (JWT_HEADER, "exporter"),
        (KEY_HEADER.replace(b" ", b"  "), "journey"),
        (b" \t" + KEY_HEADER.replace(b" ", b"   ") + b" \t ", "journey"),
        (JWT_HEADER + b" ", "exporter"),
    ):
        assert (await harness.gate.admit([header])).caller.name == name


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
async def test_no_credential_or_several_are_unauthenticated(harness: GateHarness, headers: list[bytes]) -> None:
    """No credential, two, and an empty one are all unauthenticated, and no verifier is called."""
    with pytest.raises(UnauthenticatedError):
        await harness.gate.admit(headers)
    assert harness.verifier.verified == []


def test_a_header_of_more_than_16_kib_is_refused_unread() -> None:
    """The limit is exact."""
    filler = b"x" * (MAX_AUTHORIZATION_BYTES - len(b"Bearer "))
    assert bearer_credential(b"Bearer " + filler) == filler
    with pytest.raises(UnauthenticatedError):
        bearer_credential(b"Bearer " + filler + b"x")


async def test_an_unknown_key_is_unauthenticated_and_an_unmatched_jwt_is_forbidden(harness: GateHarness) -> None:
    """An unknown key proves nothing; a valid JWT proves an identity, but one that the policy does not name."""
    with pytest.raises(UnauthenticatedError):
        await harness.gate.admit_credential(make_api_key("stranger").encode())
    harness.jwt(subject="stranger")
    for _ in range(2):
        with pytest.raises(ForbiddenError):
            await harness.gate.admit([JWT_HEADER])
    assert len(harness.verifier.verified) == 2


async def test_unavailable_keys_are_not_blamed_on_the_caller(harness: GateHarness) -> None:
    """An outage of the issuer is reported as such, not as a bad credential."""
    harness.verifier.failure = IdentityUnavailableError("no keys")
    with pytest.raises(IdentityUnavailableError):
        await harness.gate.admit([JWT_HEADER])


async def test_a_key_is_remembered_until_the_policy_changes(harness: GateHarness) -> None:
    """Under a new policy, even an equal one, the credential is verified again."""
    memory = harness.gate.headers
    assert memory.recall(proof_of(KEY_HEADER), harness.clock()) is None
    admission = await harness.gate.admit([KEY_HEADER])
    assert memory.recall(proof_of(KEY_HEADER), harness.clock() + 1e9) is admission
    assert memory.recall(proof_of(KEY_HEADER + b"x"), harness.clock()) is None
    harness.policy.current = make_policy(make_caller(), EXPORTER)
    assert memory.recall(proof_of(KEY_HEADER), harness.clock()) is None
    assert (await harness.gate.admit([KEY_HEADER])).policy is harness.policy.current


@pytest.mark.parametrize(("life", "remembered"), [(600.0, 60.0), (30.0, 30.0)])
async def test_a_jwt_is_verified_once_a_minute_and_never_remembered_past_its_expiry(
    harness: GateHarness, life: float, remembered: float
) -> None:
    """It is remembered until it expires, at most 60 s after its verification, however often it is used."""
    harness.jwt(life)
    for _ in range(10):
        assert (await harness.gate.admit([JWT_HEADER])).caller is EXPORTER
        harness.clock.advance((remembered - 0.1) / 10)
    assert len(harness.verifier.verified) == 1
    assert harness.gate.headers.recall(proof_of(JWT_HEADER), harness.clock()) is not None
    harness.clock.advance(0.1)
    assert harness.gate.headers.recall(proof_of(JWT_HEADER), harness.clock()) is None


async def test_a_jwt_whose_policy_changed_while_it_was_verified_is_not_remembered(harness: GateHarness) -> None:
    """It may have been verified with the keys of the issuer under the old policy."""
    harness.jwt()
    harness.verifier.calls.pause()
    task = asyncio.create_task(harness.gate.admit([JWT_HEADER]))
    await harness.verifier.calls.one_waits()
    harness.policy.current = make_policy(make_caller(), EXPORTER)
    harness.verifier.calls.resume()
    assert (await task).policy is harness.policy.current
    assert harness.gate.headers.recall(proof_of(JWT_HEADER), harness.clock()) is None


async def test_an_admission_under_an_older_policy_is_renewed_but_never_remembered(harness: GateHarness) -> None:
    """The new policy names the caller or refuses it; its credential is verified again at the next request."""
    gate = harness.gate
    admission = await gate.admit([KEY_HEADER])
    assert gate.renewed(admission) is admission
    harness.policy.current = make_policy(make_caller(), EXPORTER)
    gate.forms.remember(b"form", admission)
    renewed = gate.renewed(admission)
    assert renewed.caller is harness.policy.current.callers[0]
    gate.forms.remember(b"form", renewed)
    assert gate.forms.recall(b"form", harness.clock()) is None
    harness.policy.current = make_policy(EXPORTER)
    with pytest.raises(UnauthenticatedError):
        gate.renewed(admission)


async def test_a_credential_is_remembered_only_for_the_place_where_it_was_sent(harness: GateHarness) -> None:
    """A bare credential of a form is not remembered as an Authorization header, or the other way round."""
    harness.jwt()
    await harness.gate.admit_credential(b"eyJ.some.jwt")
    await harness.gate.admit([KEY_HEADER])
    with pytest.raises(UnauthenticatedError):
        await harness.gate.admit([b"eyJ.some.jwt"])
    assert harness.gate.credentials.recall(proof_of(KEY_HEADER), harness.clock()) is None
    assert harness.gate.forms.recall(proof_of(KEY_HEADER), harness.clock()) is None


async def test_no_credential_is_kept(harness: GateHarness) -> None:
    """Only the hash of the header is kept, not the header."""
    await harness.gate.admit([KEY_HEADER])
    known = harness.gate.headers._known
    assert len(known) == 1
    assert make_api_key().encode() not in repr(known).encode()


def test_a_limit_admits_its_number_and_then_says_how_long_to_wait() -> None:
    """A limit of two a second admits two at once, then one each half second; a caller without a limit has none."""
    limited, free = make_caller("limited", rate_limit=RateLimit(2, 1.0)), make_caller("free")
    harness = GateHarness(make_policy(limited, free))
    for _ in range(2):
        harness.gate.count(limited)
    with pytest.raises(RateLimitedError) as over:
        harness.gate.count(limited)
    assert over.value.retry_after == pytest.approx(0.5)
    harness.clock.advance(0.5)
    harness.gate.count(limited)
    for _ in range(100):
        harness.gate.count(free)


def test_a_reload_of_the_policy_does_not_refill_a_limit() -> None:
    """The bucket belongs to the caller's name and limit, not to a policy version."""
    first, again = (
        make_caller("limited", rate_limit=RateLimit(1, 60.0)),
        make_caller("limited", rate_limit=RateLimit(1, 60.0)),
    )
    harness = GateHarness(make_policy(first))
    harness.gate.count(first)
    harness.policy.current = make_policy(again)
    with pytest.raises(RateLimitedError):
        harness.gate.count(again)


def test_only_callers_of_the_policy_have_a_bucket() -> None:
    """A policy that drops a caller or changes its limit drops its bucket: there is at most one bucket per caller."""
    callers = [make_caller(f"caller-{number}", rate_limit=RateLimit(1, 60.0)) for number in range(5)]
    harness = GateHarness(make_policy(*callers))
    for _ in range(20):
        for caller in callers:
            with contextlib.suppress(RateLimitedError):
                harness.gate.count(caller)
    assert len(harness.gate._buckets) == 5
    kept = harness.gate.bucket(callers[0])
    other = make_caller("caller-1", rate_limit=RateLimit(2, 60.0))
    harness.policy.current = make_policy(callers[0], other)
    harness.gate.count(other)
    assert len(harness.gate._buckets) == 2
    assert harness.gate.bucket(callers[0]) is kept


async def test_the_memory_of_callers_drops_the_oldest(harness: GateHarness) -> None:
    """Each new entry replaces the oldest one."""
    memory = VerifiedCallers(harness.policy, limit=10)
    admission = await harness.gate.admit([KEY_HEADER])
    for number in range(100):
        memory.remember(b"proof %d" % number, admission)
    assert [memory.recall(b"proof %d" % number, 0.0) for number in (89, 90, 99)] == [None, admission, admission]


async def test_one_caller_does_not_evict_the_proofs_of_others(harness: GateHarness) -> None:
    """An API key can be sent with any number of spaces before it, and each header is another proof."""
    harness.policy.current = make_policy(make_caller("journey"), make_caller("other"))
    memory = VerifiedCallers(harness.policy, limit=10)
    other = await harness.gate.admit([f"Bearer {make_api_key('other')}".encode()])
    journey = await harness.gate.admit([KEY_HEADER])
    memory.remember(b"proof of the other", other)
    for number in range(100):
        memory.remember(b"proof %d" % number, journey)
    assert memory.recall(b"proof of the other", 0.0) is other
