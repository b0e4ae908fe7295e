"""The decision of the policy, as two tables. They are written from docs/contract.md sections 3, 4 and 9, not from code.

One says what each kind of caller gets for each kind of request, the other what each proof of a caller is worth.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from app.domain.dependency_errors import IdentityUnavailableError
from app.domain.identity import JwtIdentity
from app.domain.policy_document import parse_policy
from tests.factories import ISSUER, ORG, OTHER_ORG, UNKNOWN_ORG, make_api_key, make_credential, make_key
from tests.support.api_in_memory import ApiInMemory, bearer
from tests.support.asgi_client import AsgiResponse, Header

EVERY, PAST = ["*"], "2020-01-01T00:00:00Z"
RULES: dict[str, list[dict[str, object]]] = {
    "anyone": [{"orgs": EVERY}],
    "one": [{"orgs": [ORG]}],
    "scoped": [{"orgs": [ORG], "scopes": ["openid"]}],
    "scopes": [{"orgs": [ORG], "scopes": ["openid", "nosuch"]}],
    "second": [{"orgs": [ORG], "credentials": ["second"]}],
    "vends": [{"orgs": [ORG], "actions": ["vend"]}],
    "purges": [{"orgs": [ORG], "actions": ["purge"]}],
    "watches": [{"orgs": EVERY, "actions": ["status"]}],
    "union": [
        {"orgs": [ORG], "scopes": ["openid"], "actions": ["vend"]},
        {"orgs": EVERY, "scopes": ["AdobeID"], "actions": ["purge"]},
    ],
    "ruleless": [],
    "orgless": [{"orgs": []}],
    "scopeless": [{"orgs": [ORG], "scopes": []}],
    "idle": [{"orgs": [ORG], "actions": []}],
    "ended": [{"orgs": EVERY, "actions": ["vend", "report", "purge", "status"], "not_after": PAST}],
    "audit": [{"orgs": EVERY, "actions": ["vend", "report", "purge", "status"], "mode": "audit"}],
}

HASH = "0" * 64
REQUESTS: dict[str, tuple[str, str]] = {
    "vend": ("GET", f"/token?org={ORG}"),
    "openid": ("GET", f"/token?org={ORG}&scope=openid"),
    "AdobeID": ("GET", f"/token?org={ORG}&scope=AdobeID"),
    "both": ("GET", f"/token?org={ORG}&scope=openid+AdobeID"),
    "nosuch": ("GET", f"/token?org={ORG}&scope=nosuch"),
    "second": ("GET", f"/token?org={ORG}&credential=second"),
    "other": ("GET", f"/token?org={OTHER_ORG}"),
    "unknown": ("GET", f"/token?org={UNKNOWN_ORG}"),
    "report": ("POST", f"/token/report?org={ORG}"),
    "purge": ("DELETE", f"/token?org={ORG}"),
    "purge-other": ("DELETE", f"/token?org={OTHER_ORG}"),
    "orgs": ("GET", "/orgs"),
}

# 200, 204: done. 400: a scope that the credential lacks. 403: the policy says no. 404: allowed, but nothing is stored.
TABLE = """
caller     vend  openid  AdobeID  both  nosuch  second  other  unknown  report  purge  purge-other  orgs
anyone     200   200     200      200   400     403     200    404      200     403    403          403
one        200   200     200      200   400     403     403    403      200     403    403          403
scoped     200   200     403      403   403     403     403    403      200     403    403          403
scopes     200   200     403      403   400     403     403    403      200     403    403          403
second     403   403     403      403   403     200     403    403      403     403    403          403
vends      200   200     200      200   400     403     403    403      403     403    403          403
purges     403   403     403      403   403     403     403    403      403     204    403          403
watches    403   403     403      403   403     403     403    403      403     403    403          200
union      200   200     200      200   403     403     403    403      403     204    204          403
ruleless   403   403     403      403   403     403     403    403      403     403    403          403
orgless    403   403     403      403   403     403     403    403      403     403    403          403
scopeless  403   403     403      403   403     403     403    403      403     403    403          403
idle       403   403     403      403   403     403     403    403      403     403    403          403
ended      403   403     403      403   403     403     403    403      403     403    403          403
audit      403   403     403      403   403     403     403    403      403     403    403          403
"""
CODES = {400: "invalid_request", 403: "forbidden", 404: "credential_not_found"}


def digest_of(key: str) -> str:
    """The SHA-256 of an API key, as a policy has it."""
    return hashlib.sha256(key.encode()).hexdigest()


def policy_document() -> dict[str, Any]:
    """The policy of both tables."""
    callers: list[dict[str, object]] = [
        {"name": name, "match": {"api_key_sha256": [digest_of(make_api_key(name))]}, "allow": allow}
        for name, allow in RULES.items()
    ]
    ended: dict[str, object] = {"sha256": digest_of(make_api_key("endedkey")), "not_after": PAST}
    rotating: dict[str, object] = {"api_key_sha256": [digest_of(make_api_key("newkey")), ended]}
    jwt = {"issuer": ISSUER.issuer, "subject": "exporter"}
    callers += [
        {"name": "rotating", "match": rotating, "allow": [{"orgs": EVERY}]},
        {"name": "exporter", "match": jwt, "allow": [{"orgs": [ORG]}]},
    ]
    issuer = {"issuer": ISSUER.issuer, "audience": "ims-token-broker", "jwks_url": ISSUER.jwks_url}
    return {"version": 1, "issuers": [issuer], "callers": callers}


@pytest.fixture
async def api() -> ApiInMemory:
    """The API under that policy; `UNKNOWN_ORG` is stored nowhere."""
    api = ApiInMemory()
    api.world.put(make_credential(make_key(credential="second").ref))
    api.source.content = parse_policy(policy_document(), "of-the-tables")
    await api.policy.load()
    return api


def rows(table: str) -> list[tuple[str, dict[str, int]]]:
    """The rows of a table: the first word, and a status for each column."""
    header, *lines = (line.split() for line in table.strip().splitlines())
    return [(line[0], dict(zip(header[1:], map(int, line[1:]), strict=True))) for line in lines]


def test_the_table_is_whole() -> None:
    """Each caller of the policy is a row, and each kind of request a column."""
    assert [name for name, _ in rows(TABLE)] == list(RULES)
    assert all(list(cells) == list(REQUESTS) for _, cells in rows(TABLE))


async def asked(api: ApiInMemory, request: str, *headers: Header) -> AsgiResponse:
    """The answer to one request of the table."""
    method, target = REQUESTS[request]
    body = json.dumps({"token_sha256": HASH}).encode() if method == "POST" else b""
    return await api.ask(method, target, *headers, caller=None, body=body)


@pytest.mark.parametrize(("caller", "cells"), rows(TABLE), ids=[name for name, _ in rows(TABLE)])
async def test_the_rules_of_a_caller_decide(api: ApiInMemory, caller: str, cells: dict[str, int]) -> None:
    """Each cell: the status and code. What is vended is the org's own token, with no scope that the caller lacks."""
    for request, status in cells.items():
        answer = await asked(api, request, bearer(caller))
        assert (request, answer.status) == (request, status)
        if status in CODES:
            assert answer.code == CODES[status]
        elif status == 200 and request != "orgs":
            assert answer.json["org_id"] == (OTHER_ORG if request == "other" else ORG)
            assert answer.json["credential"] == ("second" if request == "second" else "default")
            allowed = {
                "scoped": {"openid"}, "scopes": {"openid"}, "union": {"openid", "AdobeID"}
            }.get(caller, {"openid", "AdobeID", "session"})  # fmt: skip
            named = {"openid": {"openid"}, "AdobeID": {"AdobeID"}, "both": {"openid", "AdobeID"}}.get(request, allowed)
            assert set(answer.json["scope"].split()) == named


async def test_gateways_get_the_same_decision(api: ApiInMemory) -> None:
    """`/headers` allows and refuses what `GET /token` does, for each caller and each request of the table."""
    for caller, cells in rows(TABLE):
        for request, status in cells.items():
            method, target = REQUESTS[request]
            if method == "GET" and target.startswith("/token?"):
                answer = await api.ask("GET", target.replace("/token?", "/headers?"), bearer(caller), caller=None)
                assert (caller, request, answer.status) == (caller, request, status)
                assert (answer.header("authorization") is not None) is (status == 200)


async def test_a_batch_gets_the_same_decisions(api: ApiInMemory) -> None:
    """Each item of `POST /tokens` is answered as `GET /token` would be."""
    items: dict[str, dict[str, str]] = {
        "vend": {"org": ORG},
        "openid": {"org": ORG, "scope": "openid"},
        "AdobeID": {"org": ORG, "scope": "AdobeID"},
        "nosuch": {"org": ORG, "scope": "nosuch"},
        "second": {"org": ORG, "credential": "second"},
        "other": {"org": OTHER_ORG},
        "unknown": {"org": UNKNOWN_ORG},
    }
    body = json.dumps({"items": list(items.values())}).encode()
    for caller, cells in rows(TABLE):
        answer = await api.ask("POST", "/tokens", bearer(caller), caller=None, body=body)
        found = [item.get("status", 200) for item in answer.json["items"]]
        assert (caller, found) == (caller, [cells[request] for request in items])


async def test_all_refusals_of_the_policy_are_the_same_bytes(api: ApiInMemory) -> None:
    """403 is the same for every reason, and for known and unknown orgs, except for the id of the request."""
    seen = set()
    for caller, cells in rows(TABLE):
        for request in (name for name, status in cells.items() if status == 403):
            answer = await asked(api, request, bearer(caller), ("X-Request-Id", "the-same"))
            seen.add((answer.status, answer.headers, answer.body))
    assert len(seen) == 1


JWT = "eyJ.some.jwt"
PROOFS: dict[str, tuple[Header, ...]] = {
    "none": (),
    "empty": (("Authorization", ""),),
    "scheme": (("Authorization", f"Basic {make_api_key('anyone')}"),),
    "two": (bearer("anyone"), bearer("anyone")),
    "good-key": (bearer("anyone"),),
    "new-key": (bearer("newkey"),),
    "ended-key": (bearer("endedkey"),),
    "strange-key": (bearer("stranger"),),
    "changed-key": (("Authorization", f"Bearer {make_api_key('anyone')[:-1]}x"),),
    "good-jwt": (("Authorization", f"Bearer {JWT}"),),
    "ended-jwt": (("Authorization", f"Bearer {JWT}"),),
    "forged-jwt": (("Authorization", "Bearer eyJ.other.jwt"),),
    "stranger-jwt": (("Authorization", f"Bearer {JWT}"),),
    "keys-away": (("Authorization", "Bearer eyJ.other.jwt"),),
}
PROVEN = """
proof         vend  other  unknown  report  purge  orgs
none          401   401    401      401     401    401
empty         401   401    401      401     401    401
scheme        401   401    401      401     401    401
two           401   401    401      401     401    401
good-key      200   200    404      200     403    403
new-key       200   200    404      200     403    403
ended-key     401   401    401      401     401    401
strange-key   401   401    401      401     401    401
changed-key   401   401    401      401     401    401
good-jwt      200   403    403      200     403    403
ended-jwt     401   401    401      401     401    401
forged-jwt    401   401    401      401     401    401
stranger-jwt  403   403    403      403     403    403
keys-away     503   503    503      503     503    503
"""


def test_the_table_of_proofs_is_whole() -> None:
    """Each kind of proof is a row."""
    assert [name for name, _ in rows(PROVEN)] == list(PROOFS)


@pytest.mark.parametrize(("proof", "cells"), rows(PROVEN), ids=[name for name, _ in rows(PROVEN)])
async def test_the_proof_of_a_caller_decides_first(api: ApiInMemory, proof: str, cells: dict[str, int]) -> None:
    """Each cell: without a proof every request is 401, with a constant text; a proven stranger is forbidden."""
    if proof in {"good-jwt", "stranger-jwt"}:
        subject = "exporter" if proof == "good-jwt" else "stranger"
        api.verifier.known[JWT.encode()] = JwtIdentity(ISSUER.issuer, subject, api.clock() + 600.0)
    if proof == "ended-jwt":
        # It was good a moment ago, and is remembered; then its end comes.
        api.verifier.known[JWT.encode()] = JwtIdentity(ISSUER.issuer, "exporter", api.clock() + 60.0)
        assert (await asked(api, "vend", *PROOFS[proof])).status == 200
        api.clock.advance(60.0)
        api.verifier.known.clear()
    if proof == "keys-away":
        api.verifier.failure = IdentityUnavailableError("The keys of the issuer are unavailable.")
    for request, status in cells.items():
        answer = await asked(api, request, *PROOFS[proof])
        assert (request, answer.status) == (request, status)
        if status == 401:
            assert answer.code == "unauthenticated"
            assert (answer.header("www-authenticate") or "").startswith("Bearer")
            assert not {ORG, OTHER_ORG, UNKNOWN_ORG} & {word.strip('".') for word in answer.body.decode().split()}
        if status == 503:
            assert answer.code == "identity_unavailable"
            assert int(answer.header("retry-after") or 0) > 0
