"""The verifier with real signatures: what proves an identity, and the long list of what does not."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.adapters.jwt_verifier import JwtCallerVerifier
from app.adapters.jwt_verifier.compact import parse_jwt
from app.domain.api_key import new_api_key, parse_api_key
from app.domain.errors import UnauthenticatedError
from app.domain.identity import Issuer, JwtIdentity
from app.domain.policy import Caller, Policy
from tests.support.fetches import Fetches
from tests.support.forged import Forged, forged_credentials
from tests.support.issuer import AUDIENCE, SUBJECT, Kind, LocalIssuer, LoopbackServer, SigningKey
from tests.support.trusting import NOW, trusting

RSA, EC = SigningKey("key-1", "RS256"), SigningKey("key-2", "ES256")
KINDS: tuple[Kind, ...] = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
API_KEY = new_api_key("demo", bytes(range(32)))


@pytest.fixture(scope="module")
def issuer() -> Iterator[LocalIssuer]:
    """An issuer with a key of each kind."""
    made = LocalIssuer((RSA, EC, *(SigningKey(f"kind-{kind}", kind) for kind in KINDS)))
    yield made
    made.close()


@pytest.fixture(scope="module")
def trap() -> Iterator[LoopbackServer]:
    """A server that must not be called."""
    made = LoopbackServer()
    yield made
    made.close()


@pytest.fixture
async def verifier(issuer: LocalIssuer, tmp_path: Path) -> AsyncIterator[JwtCallerVerifier]:
    """A verifier that trusts the issuer."""
    made = await trusting(issuer, tmp_path)
    yield made
    await made.aclose()


async def accepts(verifier: JwtCallerVerifier, token: str) -> None:
    """The token proves the issuer's usual subject."""
    assert (await verifier.verify(token.encode())).subject == SUBJECT


async def refuses(verifier: JwtCallerVerifier, token: str | bytes) -> None:
    """The token is refused with the one constant text, and the error has no cause or context."""
    with pytest.raises(UnauthenticatedError) as refused:
        await verifier.verify(token.encode() if isinstance(token, str) else token)
    assert refused.value.detail == UnauthenticatedError.DETAIL
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


MARKETING = {"namespace": "marketing", "serviceaccount": {"name": "export"}}


@pytest.mark.parametrize(
    ("changes", "namespace"),
    [
        ({"kubernetes.io": MARKETING}, "marketing"),
        ({}, None),
        ({"kubernetes.io": "marketing"}, None),
        ({"kubernetes.io": {"namespace": ["marketing"]}}, None),
        ({"kubernetes.io": {"namespace": "marketing-x"}}, None),
        ({"kubernetes.io": MARKETING, "sub": "system:serviceaccount:marketing-x:export"}, None),
        ({"kubernetes.io": MARKETING, "sub": "system:serviceaccount:marketing:export:x"}, None),
        ({"kubernetes.io": MARKETING, "sub": "system:serviceaccount:marketing:"}, None),
        ({"kubernetes.io": MARKETING, "sub": "xsystem:serviceaccount:marketing:export"}, None),
        ({"kubernetes.io": MARKETING, "sub": "marketing"}, None),
    ],
)
async def test_a_namespace_is_proved_by_claim_and_subject(
    verifier: JwtCallerVerifier, issuer: LocalIssuer, changes: dict[str, Any], namespace: str | None
) -> None:
    """A token proves a namespace only if both the Kubernetes claim and the service account's subject name it."""
    identity = await verifier.verify(issuer.token(NOW, **changes).encode())
    assert identity.namespace == namespace


@pytest.mark.parametrize("kind", KINDS)
async def test_each_algorithm_of_the_list_is_verified(
    verifier: JwtCallerVerifier, issuer: LocalIssuer, kind: Kind
) -> None:
    """A token signed by a key of the set proves its subject."""
    token = issuer.token(NOW, key=SigningKey(f"kind-{kind}", kind))
    assert await verifier.verify(token.encode()) == JwtIdentity(issuer.name, SUBJECT, NOW + 600)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [AUDIENCE]},
        {"aud": ["other", AUDIENCE]},
        {"iat": ...},
        {"iat": ..., "exp": int(NOW) + 25 * 3600 + 60},
        {"exp": int(NOW) + 25 * 3600},
        {"iat": int(NOW) - 300, "exp": int(NOW) + 24 * 3600},
        {"iat": NOW - 0.25, "nbf": NOW - 0.75, "exp": NOW + 600.5},
        {"iat": NOW, "exp": NOW + 600},
        {"iat": int(NOW) + 60},
        {"nbf": int(NOW) + 60},
        {"nbf": 0},
        {"iat": int(NOW) - 600, "exp": int(NOW) - 59},
        {"kubernetes.io": {"namespace": "marketing", "serviceaccount": {"name": "export", "uid": "1"}}},
        {"jti": None, "x": 1.5, "y": [True, {}]},
        {"sub": SUBJECT},
    ],
)
async def test_unusual_claims_are_accepted(
    verifier: JwtCallerVerifier, issuer: LocalIssuer, changes: dict[str, Any]
) -> None:
    """Audience lists, clocks 60 s apart, lifetimes of 25 h, fractions of seconds and unknown claims are accepted."""
    identity = await verifier.verify(issuer.token(NOW, **changes).encode())
    assert (identity.issuer, identity.subject) == (issuer.name, SUBJECT)


async def test_one_of_several_audiences_is_enough_and_compared_claims_are_kept(
    verifier: JwtCallerVerifier, issuer: LocalIssuer, tmp_path: Path
) -> None:
    """A JWT for any audience of the list is accepted; its identity has the claims that the policy names, no others."""
    keys, names = str(tmp_path / "jwks.json"), frozenset({"team", "absent"})
    verifier.trust((Issuer(issuer.name, ("one", "two"), jwks_file=keys, claims=names),))
    for audience in ("one", "two", ["other", "two"]):
        token = issuer.token(NOW, aud=audience, team=["red", 7, True, {}], other="x")
        identity = await verifier.verify(token.encode())
        assert identity.claims == {("team", "str", "red"), ("team", "int", 7), ("team", "bool", True)}
    for wrong in (AUDIENCE, "one two", ["other"], ["one", 1], "", ["o", "n", "e"]):
        await refuses(verifier, issuer.token(NOW, aud=wrong))


async def test_a_key_that_the_header_names_is_neither_followed_nor_used(
    verifier: JwtCallerVerifier, issuer: LocalIssuer, trap: LoopbackServer
) -> None:
    """jku, x5u, x5c and jwk change nothing: the policy's keys verify, and no connection is opened."""
    stranger = SigningKey(RSA.kid, "RS256", serial=99)
    for name, value in {"jku": trap.url, "x5u": trap.url, "x5c": ["AAAA"], "jwk": stranger.jwk}.items():
        header = {"alg": "RS256", "kid": RSA.kid, name: value}
        await accepts(verifier, RSA.sign(header, issuer.claims(NOW)))
        await refuses(verifier, stranger.sign(header, issuer.claims(NOW)))
        await refuses(verifier, stranger.sign({"alg": "RS256", name: value}, issuer.claims(NOW)))
        await refuses(verifier, RSA.sign({**header, "crit": [name]}, issuer.claims(NOW)))
    assert trap.count == 0


@pytest.mark.parametrize("subject", ["a", "x" * 512, "spiffe://example.test/ns/a", "M\u00fcller"])
async def test_subjects_are_returned_unchanged(verifier: JwtCallerVerifier, issuer: LocalIssuer, subject: str) -> None:
    """The subject is returned exactly, because the policy compares it exactly."""
    assert (await verifier.verify(issuer.token(NOW, sub=subject).encode())).subject == subject


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt", "JOSE"])
async def test_all_types_of_token_are_accepted(verifier: JwtCallerVerifier, issuer: LocalIssuer, kind: str) -> None:
    """The types of a JWT, an access token and a SPIFFE token are accepted in upper or lower case."""
    token = RSA.sign({"alg": "RS256", "kid": RSA.kid, "typ": kind}, issuer.claims(NOW))
    await accepts(verifier, token)


@pytest.mark.parametrize("key", [RSA, EC])
async def test_a_token_without_kid_is_tried_with_suitable_keys(
    verifier: JwtCallerVerifier, issuer: LocalIssuer, key: SigningKey
) -> None:
    """A token without a key id is verified with every suitable key, because small issuers omit it."""
    await accepts(verifier, key.sign({"alg": key.kind}, issuer.claims(NOW)))


async def test_the_leeway_ends(verifier: JwtCallerVerifier, issuer: LocalIssuer) -> None:
    """A token that expired 60 s ago is refused: the leeway is shorter than that."""
    await refuses(verifier, issuer.token(NOW, iat=int(NOW) - 600, exp=int(NOW) - 60))


async def test_a_large_token_within_the_bound_is_accepted(verifier: JwtCallerVerifier, issuer: LocalIssuer) -> None:
    """A token of 8 KiB is accepted; one byte more is refused before any of it is decoded."""
    size = len(issuer.token(NOW, filler=""))
    filler = "x" * ((8192 - size) * 3 // 4)
    token = issuer.token(NOW, filler=filler)
    while len(token) > 8192:
        filler = filler[:-1]
        token = issuer.token(NOW, filler=filler)
    assert len(token) > 8180
    await accepts(verifier, token)
    await refuses(verifier, issuer.token(NOW, filler=filler + "x" * 12))


async def test_every_forged_credential_is_refused(
    verifier: JwtCallerVerifier, issuer: LocalIssuer, trap: LoopbackServer
) -> None:
    """No forged credential proves anything, none causes another error, and none causes a request."""
    policy = Policy([Caller("demo", (), frozenset({parse_api_key(API_KEY.encode()).digest}))])
    credentials = forged_credentials(issuer, NOW, trap.url, API_KEY)
    accepted = [forged.name for forged in credentials if await proves_something(verifier, policy, forged)]
    assert accepted == []
    assert trap.count == 0
    assert len(credentials) > 150


async def proves_something(verifier: JwtCallerVerifier, policy: Policy, forged: Forged) -> bool:
    """Whether it is accepted when treated as the service does: as an API key or as a JWT."""
    try:
        if forged.credential.startswith(b"itb_"):
            policy.caller(parse_api_key(forged.credential))
        else:
            await verifier.verify(forged.credential if forged.name != "credential without scheme" else b"")
    except UnauthenticatedError as refused:
        return refused.detail != UnauthenticatedError.DETAIL
    return True


async def test_a_forged_credential_costs_little(
    verifier: JwtCallerVerifier, issuer: LocalIssuer, trap: LoopbackServer
) -> None:
    """The fastest of five tries takes less than 1 ms of CPU time, whatever the token."""
    slowest = {}
    for forged in forged_credentials(issuer, NOW, trap.url, API_KEY):
        slowest[forged.name] = min([await cpu_seconds(verifier, forged.credential) for _ in range(5)])
    assert {name: seconds for name, seconds in slowest.items() if seconds > 0.001} == {}


async def cpu_seconds(verifier: JwtCallerVerifier, credential: bytes) -> float:
    """CPU time of one verification."""
    start = time.process_time()
    with contextlib.suppress(UnauthenticatedError):
        await verifier.verify(credential)
    return time.process_time() - start


async def test_no_issuer_is_trusted_at_first(issuer: LocalIssuer) -> None:
    """Without a policy even a valid token proves nothing."""
    verifier = JwtCallerVerifier(lambda: NOW, Fetches())
    await refuses(verifier, issuer.token(NOW))
    await verifier.aclose()


async def test_a_token_for_another_broker_is_refused_at_once(
    verifier: JwtCallerVerifier, issuer: LocalIssuer, tmp_path: Path
) -> None:
    """A changed audience applies from the next token on, with the cached keys."""
    verifier.trust((Issuer(issuer.name, ("another",), jwks_file=str(tmp_path / "jwks.json")),))
    await refuses(verifier, issuer.token(NOW))
    await accepts(verifier, issuer.token(NOW, aud="another"))


async def test_keys_of_one_issuer_prove_nothing_for_another(issuer: LocalIssuer, tmp_path: Path) -> None:
    """Two trusted issuers cannot speak for each other, even with the same key id."""
    other = SigningKey("key-1", "RS256", serial=1)
    (tmp_path / "other.json").write_text(json.dumps({"keys": [other.jwk]}))
    (tmp_path / "jwks.json").write_bytes(issuer.body())
    fetches = Fetches()
    verifier = JwtCallerVerifier(lambda: NOW, fetches)
    verifier.trust(
        (
            Issuer(issuer.name, (AUDIENCE,), jwks_file=str(tmp_path / "jwks.json")),
            Issuer("other", (AUDIENCE,), jwks_file=str(tmp_path / "other.json")),
        )
    )
    await fetches.reach(2)
    await accepts(verifier, issuer.token(NOW, key=other, iss="other"))
    await refuses(verifier, issuer.token(NOW, key=other))
    await refuses(verifier, issuer.token(NOW, iss="other"))
    await verifier.aclose()


async def test_two_issuers_that_share_a_key_do_not_share_tokens(issuer: LocalIssuer, tmp_path: Path) -> None:
    """With one key for two issuers, each token still counts for its own issuer and audience alone."""
    (tmp_path / "jwks.json").write_bytes(issuer.body())
    source = str(tmp_path / "jwks.json")
    one, other = issuer.name, issuer.name + "/"
    fetches = Fetches()
    verifier = JwtCallerVerifier(lambda: NOW, fetches)
    verifier.trust((Issuer(one, (AUDIENCE,), jwks_file=source), Issuer(other, ("another",), jwks_file=source)))
    await fetches.reach(2)
    assert (await verifier.verify(issuer.token(NOW).encode())).issuer == one
    assert (await verifier.verify(issuer.token(NOW, iss=other, aud="another").encode())).issuer == other
    both = issuer.token(NOW, iss=other, aud=[AUDIENCE, "another"])
    assert (await verifier.verify(both.encode())).issuer == other
    await refuses(verifier, issuer.token(NOW, aud="another"))
    await refuses(verifier, issuer.token(NOW, iss=other))
    await refuses(verifier, issuer.token(NOW, iss=one.upper(), aud=[AUDIENCE, "another"]))
    await refuses(verifier, issuer.token(NOW, iss=[one, other], aud=[AUDIENCE, "another"]))
    await verifier.aclose()


def test_a_callers_jwt_is_not_in_its_repr(issuer: LocalIssuer) -> None:
    """Neither the signature nor what was signed is shown: with both, anyone could be the caller."""
    token = issuer.token(NOW)
    parsed = parse_jwt(token.encode())
    assert parsed.signing_input.decode() == token.rpartition(".")[0]
    shown = repr(parsed)
    assert "key_id=" in shown
    for secret in (parsed.signature, parsed.signing_input, SUBJECT.encode()):
        assert repr(secret)[2:-1] not in shown
