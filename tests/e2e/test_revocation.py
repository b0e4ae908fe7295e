"""Rights taken away in the policy file, on a real process whose answers are warm on every endpoint."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from app.domain.api_key import SECRET_BYTES, new_api_key
from app.domain.rfc3339 import rfc3339
from tests.support.broker_without_vault import BrokerWithoutVault, broker_without_vault
from tests.support.issuer import AUDIENCE, SUBJECT, LocalIssuer, local_issuer
from tests.support.replica import FORM
from tests.support.tenants import SCOPES
from tests.support.wire import exchange, request_bytes

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SCOPE = " ".join(SCOPES)
KEPT_KEY, KEY = (new_api_key(name, secrets.token_bytes(SECRET_BYTES)) for name in ("kept", "gone"))
ALLOWED = {"/token": 200, "/headers": 200, "/oauth2/token": 200}
DENIED = {"/token": 403, "/headers": 403, "/oauth2/token": 400}
UNKNOWN = {"/token": 401, "/headers": 401, "/oauth2/token": 401}

Edit = Callable[[dict[str, Any]], object]


def _first_rule(**fields: object) -> Edit:
    """Change the first rule of the caller that has an API key."""
    return lambda policy: policy["callers"][1]["allow"][0].update(fields)


def _match(caller: int, **fields: object) -> Edit:
    return lambda policy: policy["callers"][caller]["match"].update(fields)


WAYS: dict[str, tuple[str, Edit, dict[str, int]]] = {
    "one of two rules": ("key", lambda policy: policy["callers"][1]["allow"].pop(0), DENIED),
    "allow is empty": ("key", lambda policy: policy["callers"][1].update(allow=[]), DENIED),
    "allow is left out": ("key", lambda policy: policy["callers"][1].pop("allow"), DENIED),
    "orgs is empty": ("key", _first_rule(orgs=[]), DENIED),
    "orgs is another": (
        "key",
        lambda policy: policy["callers"][1]["allow"][0].update(orgs=["0" * 24 + "@AdobeOrg"]),
        DENIED,
    ),
    "actions is empty": ("key", _first_rule(actions=[]), DENIED),
    "credentials is empty": ("key", _first_rule(credentials=[]), DENIED),
    "scopes is narrowed": ("key", _first_rule(scopes=["openid"]), DENIED),
    "scopes is empty": ("key", _first_rule(scopes=[]), DENIED),
    "the key is another": (
        "key",
        _match(1, api_key_sha256=["ab" * 32]),
        UNKNOWN,
    ),
    "api_key_sha256 is empty": ("key", _match(1, api_key_sha256=[]), UNKNOWN),
    "match is empty": ("key", lambda policy: policy["callers"][1].update(match={}), UNKNOWN),
    "the caller is removed": ("key", lambda policy: policy["callers"].pop(1), UNKNOWN),
    "callers is empty": ("key", lambda policy: policy.update(callers=[]), UNKNOWN),
    "the subject is blank": ("jwt", _match(2, subject=""), DENIED),
    "the JWT's caller is removed": ("jwt", lambda policy: policy["callers"].pop(2), DENIED),
    "the issuer is removed": ("jwt", lambda policy: policy.update(issuers=[]), UNKNOWN),
}


@pytest.fixture(scope="module")
def issuer() -> Iterator[LocalIssuer]:
    """An issuer that the policy trusts."""
    with local_issuer() as running:
        yield running


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerWithoutVault]:
    """One broker with one tenant."""
    with broker_without_vault(tmp_path_factory.mktemp("revocation"), 1) as running:
        yield running


def _policy(broker: BrokerWithoutVault, issuer: LocalIssuer) -> dict[str, Any]:
    """A policy with a caller that is kept, one that has an API key, and one that has a JWT."""
    rules = [{"orgs": [broker.tenants[0].org]}, {"orgs": ["1" * 24 + "@AdobeOrg"]}]
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in (KEPT_KEY, KEY)]
    subject = {"issuer": issuer.name, "subject": SUBJECT}
    return {
        "version": 1,
        "issuers": [{"issuer": issuer.name, "audience": AUDIENCE, "jwks_url": issuer.url}],
        "callers": [
            {"name": "kept", "match": {"api_key_sha256": digests[:1]}, "allow": copy.deepcopy(rules)},
            {"name": "by-key", "match": {"api_key_sha256": digests[1:]}, "allow": copy.deepcopy(rules)},
            {"name": "by-jwt", "match": subject, "allow": copy.deepcopy(rules)},
        ],
    }


def _write(broker: BrokerWithoutVault, policy: dict[str, Any]) -> None:
    draft = broker.policy.path.with_suffix(".new")
    draft.write_text(json.dumps(policy))
    draft.replace(broker.policy.path)


async def _statuses(broker: BrokerWithoutVault, credential: str) -> dict[str, int]:
    """What each endpoint answers to this API key or JWT."""
    replica, org = broker.replica, broker.tenants[0].org
    asked = urlencode({"org": org, "scope": SCOPE})
    found = {path: (await replica.get(f"{path}?{asked}", key=credential)).status for path in ("/token", "/headers")}
    secret = {"client_id": "by-key" if credential == KEY else "kept", "client_secret": credential}
    assertion = {"client_assertion_type": JWT_BEARER, "client_assertion": credential}
    proof = secret if credential.startswith("itb_") else assertion
    form = urlencode({"grant_type": "client_credentials", "org": org, "scope": SCOPE, **proof}).encode()
    reply = await exchange(replica.port, request_bytes("POST", "/oauth2/token", [FORM], form))
    return {**found, "/oauth2/token": reply.status}


async def _until(broker: BrokerWithoutVault, credential: str, expected: dict[str, int], seconds: float) -> None:
    end, found = time.monotonic() + seconds, dict[str, int]()
    while time.monotonic() < end:
        found = await _statuses(broker, credential)
        if found == expected:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"not {expected} within {seconds} s: {found}")


@pytest.mark.parametrize("way", WAYS)
async def test_a_right_taken_away_is_gone_within_five_seconds(
    broker: BrokerWithoutVault, issuer: LocalIssuer, way: str
) -> None:
    """Each way to take a right away ends the warm answers of every endpoint within 5 s, and no other caller's."""
    kind, edit, expected = WAYS[way]
    credential = KEY if kind == "key" else issuer.token()
    policy = _policy(broker, issuer)
    _write(broker, policy)
    await _until(broker, credential, ALLOWED, 10.0)
    assert await _statuses(broker, credential) == await _statuses(broker, KEPT_KEY) == ALLOWED  # now all are warm
    edit(policy)
    _write(broker, policy)
    await _until(broker, credential, expected, 5.3)
    assert await _statuses(broker, KEPT_KEY) == (ALLOWED if policy["callers"] else UNKNOWN)


ENDS: dict[str, tuple[Callable[[str], Edit], dict[str, int]]] = {
    "a rule": (lambda end: _first_rule(not_after=end), DENIED),
    "an API key": (
        lambda end: _match(1, api_key_sha256=[{"sha256": hashlib.sha256(KEY.encode()).hexdigest(), "not_after": end}]),
        UNKNOWN,
    ),
}


@pytest.mark.parametrize("ending", ENDS)
async def test_a_right_ends_at_its_time_without_a_reload(
    broker: BrokerWithoutVault, issuer: LocalIssuer, ending: str
) -> None:
    """Warm answers of a rule or key are given until its `not_after`, and end within a second of it."""
    edit, expected = ENDS[ending]
    policy = _policy(broker, issuer)
    _write(broker, policy)
    await _until(broker, KEY, ALLOWED, 10.0)
    end = int(time.time()) + 8
    edit(rfc3339(end))(policy)
    _write(broker, policy)
    while time.time() < end - 0.5:
        assert await _statuses(broker, KEY) == ALLOWED
        await asyncio.sleep(0.2)
    await asyncio.sleep(end + 1 - time.time())
    assert await _statuses(broker, KEY) == expected
    assert await _statuses(broker, KEPT_KEY) == ALLOWED
