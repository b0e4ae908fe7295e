"""Who asks: exactly one credential, and never more often than its limit."""

from __future__ import annotations

import pytest

from app.api.gate import MAX_AUTHORIZATION_BYTES, Gate, bearer_credential
from app.domain.errors import ForbiddenError, IdentityUnavailableError, RateLimitedError, UnauthenticatedError
from app.domain.identity import ApiKeyIdentity, JwtIdentity, RateLimit
from app.domain.policy import Policy
from app.service.reload import PolicyInForce
from tests.factories import ISSUER, make_api_key, make_caller, make_policy
from tests.fakes import FakePolicySource, FakeVerifier, ManualClock, RecordingSink

KEY_HEADER = f"Bearer {make_api_key()}".encode()
JWT_HEADER = b"Bearer eyJ.some.jwt"
EXPORTER = make_caller("exporter", subject="exporter", api_keys=())


class Entrance:
    """A gate and what is around it."""

    def __init__(self, policy: Policy) -> None:
        self.clock = ManualClock()
        self.verifier = FakeVerifier()
        self.policy = PolicyInForce(FakePolicySource(policy), self.verifier, RecordingSink(), self.clock)
        self.policy.current = policy
        self.gate = Gate(self.policy, self.verifier, self.clock)

    def jwt(self, life: float = 600.0, subject: str = "exporter") -> JwtIdentity:
        """Let the verifier know the JWT of `JWT_HEADER`."""
        identity = JwtIdentity(ISSUER.issuer, subject, self.clock() + life)
        self.verifier.known[b"eyJ.some.jwt"] = identity
        return identity


@pytest.fixture
def entrance() -> Entrance:
    """With two callers."""
    return Entrance(make_policy(make_caller(), EXPORTER))


async def test_an_api_key_and_a_jwt_prove_who_they_are(entrance: Entrance) -> None:
    """A key is found by its hash, a JWT by its issuer and subject; the scheme's case does not matter."""
    entrance.jwt()
    for header, name in (
        (KEY_HEADER, "journey"),
        (KEY_HEADER.replace(b"Bearer", b"bEARER"), "journey"),
        (JWT_HEADER, "exporter"),
    ):
        identity = await entrance.gate.authenticate([header])
        assert entrance.gate.resolve(identity).name == name


@pytest.mark.parametrize("headers", [[], [KEY_HEADER, KEY_HEADER], [KEY_HEADER, b""], [b""], [b"Bearer"], [b"Bearer "]])
async def test_not_exactly_one_credential_proves_nothing(entrance: Entrance, headers: list[bytes]) -> None:
    """None, two, and an empty one are all unauthenticated, and no verifier is asked."""
    with pytest.raises(UnauthenticatedError):
        await entrance.gate.authenticate(headers)
    assert entrance.verifier.verified == []


def test_a_header_of_more_than_16_kib_is_refused_unread() -> None:
    """The bound is exact."""
    filler = b"x" * (MAX_AUTHORIZATION_BYTES - len(b"Bearer "))
    assert bearer_credential(b"Bearer " + filler) == filler
    with pytest.raises(UnauthenticatedError):
        bearer_credential(b"Bearer " + filler + b"x")


async def test_an_unknown_key_is_unauthenticated_and_an_unmatched_jwt_is_forbidden(entrance: Entrance) -> None:
    """An unknown key proves nothing; a valid JWT proves somebody whom the policy does not know."""
    unknown = await entrance.gate.identify(make_api_key("stranger").encode())
    assert isinstance(unknown, ApiKeyIdentity)
    with pytest.raises(UnauthenticatedError):
        entrance.gate.resolve(unknown)
    with pytest.raises(ForbiddenError):
        entrance.gate.resolve(entrance.jwt(subject="stranger"))


async def test_keys_that_cannot_be_had_are_not_the_callers_fault(entrance: Entrance) -> None:
    """An outage of the issuer is told as such, not as a bad credential."""
    entrance.verifier.failure = IdentityUnavailableError("no keys")
    with pytest.raises(IdentityUnavailableError):
        await entrance.gate.authenticate([JWT_HEADER])


async def test_a_remembered_key_is_recalled_until_the_policy_changes(entrance: Entrance) -> None:
    """Under a new policy, even an equal one, the credential is verified anew."""
    gate = entrance.gate
    identity = await gate.authenticate([KEY_HEADER])
    caller = gate.resolve(identity)
    assert gate.recall(KEY_HEADER, entrance.clock()) is None
    gate.remember(KEY_HEADER, identity, caller)
    assert gate.recall(KEY_HEADER, entrance.clock() + 1e9) is caller
    assert gate.recall(KEY_HEADER + b"x", entrance.clock()) is None
    entrance.policy.current = make_policy(make_caller(), EXPORTER)
    assert gate.recall(KEY_HEADER, entrance.clock()) is None


@pytest.mark.parametrize(("life", "remembered"), [(600.0, 60.0), (30.0, 30.0)])
async def test_a_jwt_is_remembered_for_a_minute_and_never_past_its_end(
    entrance: Entrance, life: float, remembered: float
) -> None:
    """Its own end or 60 s, whichever comes first."""
    identity = entrance.jwt(life)
    entrance.gate.remember(JWT_HEADER, identity, EXPORTER)
    assert entrance.gate.recall(JWT_HEADER, entrance.clock() + remembered - 0.1) is EXPORTER
    assert entrance.gate.recall(JWT_HEADER, entrance.clock() + remembered) is None


async def test_what_is_remembered_holds_no_credential(entrance: Entrance) -> None:
    """Not the header, only its hash is kept."""
    identity = await entrance.gate.authenticate([KEY_HEADER])
    entrance.gate.remember(KEY_HEADER, identity, entrance.gate.resolve(identity))
    assert make_api_key().encode() not in repr(entrance.gate._remembered).encode()


def test_a_limit_lets_through_its_number_and_then_says_how_long_to_wait() -> None:
    """Two a second are two at once, then one each half second; a caller without a limit has none."""
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


def test_what_is_remembered_is_bounded(entrance: Entrance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ever new JWTs do not fill the memory."""
    monkeypatch.setattr("app.api.gate.MAX_REMEMBERED", 10)
    identity = entrance.jwt()
    for number in range(100):
        entrance.gate.remember(b"Bearer %d" % number, identity, EXPORTER)
    assert len(entrance.gate._remembered) <= 10
