"""The verifier with random input: it raises a declared error, and never returns another caller's identity."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.adapters.jwt_verifier import JwtCallerVerifier
from app.domain.dependency_errors import IdentityUnavailableError
from app.domain.errors import UnauthenticatedError
from tests.support.issuer import SUBJECT, LocalIssuer, SigningKey, local_issuer
from tests.support.trusting import NOW, trusting

RSA = SigningKey()


@pytest.fixture(scope="module")
def issuer() -> Iterator[LocalIssuer]:
    """An issuer with one key."""
    with local_issuer(RSA) as made:
        yield made


@pytest.fixture
async def verifier(issuer: LocalIssuer, tmp_path: Path) -> AsyncIterator[JwtCallerVerifier]:
    """A verifier that trusts the issuer."""
    made = await trusting(issuer, tmp_path)
    yield made
    await made.aclose()


texts = st.text(max_size=20) | st.none() | st.booleans() | st.integers() | st.floats() | st.lists(st.text(max_size=5))
headers = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jku", "jwk", "x"]), texts, max_size=4)
claims = st.dictionaries(st.sampled_from(["iss", "aud", "sub", "exp", "iat", "nbf", "x"]), texts, max_size=4)


async def ends_well(verifier: JwtCallerVerifier, unverified: bytes) -> str | None:
    """The proven subject, or None if one of the declared errors was raised; any other error fails the test."""
    try:
        return (await verifier.verify(unverified)).subject
    except (UnauthenticatedError, IdentityUnavailableError):
        return None


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300)
    | st.from_regex(rb"[A-Za-z0-9_-]{0,80}\.[A-Za-z0-9_-]{0,80}\.[A-Za-z0-9_-]{0,80}", fullmatch=True)
)
async def test_random_bytes_prove_nothing(verifier: JwtCallerVerifier, unverified: bytes) -> None:
    """Random bytes, shaped like a JWT or not, end in a declared error."""
    assert await ends_well(verifier, unverified) is None


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), junk=st.binary(min_size=1, max_size=3))
async def test_a_changed_token_proves_nothing(
    verifier: JwtCallerVerifier, issuer: LocalIssuer, place: int, junk: bytes
) -> None:
    """A valid token in which a few bytes were changed is refused: no token has two spellings."""
    token = issuer.token(NOW).encode()
    place %= len(token)
    changed = token[:place] + junk + token[place + len(junk) :]
    assert await ends_well(verifier, changed) == (SUBJECT if changed == token else None)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=headers, changes=claims)
async def test_signed_claims_prove_their_own_subject_or_nothing(
    verifier: JwtCallerVerifier, issuer: LocalIssuer, header: dict[str, object], changes: dict[str, object]
) -> None:
    """Random headers and claims, signed with the issuer's key, give a declared error or their own subject."""
    stated = {**issuer.claims(NOW), **changes}
    token = RSA.sign({"alg": "RS256", "kid": RSA.kid, **header}, stated)
    assert await ends_well(verifier, token.encode()) in {None, str(stated["sub"])}
