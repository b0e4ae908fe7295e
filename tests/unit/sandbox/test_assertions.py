"""The sandbox really verifies assertions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from app.sandbox.assertions import check_assertion
from app.sandbox.client_registry import ClientRegistry
from app.sandbox.refusal import ImsRefusal
from tests.support import grants
from tests.support.keys import key_pair, self_signed
from tests.support.sandbox_clients import jwt_client

HOST = "127.0.0.1:8099"
BASE = f"http://{HOST}"
NOW = datetime.now(UTC).replace(microsecond=0).timestamp()
REMOVED = object()


def signed(changes: dict[str, Any] | None = None, *, key: Any = None, algorithm: str = "RS256") -> str:
    """A valid assertion with these changes."""
    claims: dict[str, Any] = {
        "exp": int(NOW) + 300,
        "iss": grants.ORG,
        "sub": grants.ACCOUNT,
        "aud": f"{BASE}/c/{grants.CLIENT_ID}",
        f"{BASE}/s/ent_aem_cloud_api": True,
    }
    claims = {name: value for name, value in {**claims, **(changes or {})}.items() if value is not REMOVED}
    # PyJWT checks some claims when it signs; a client may not.
    return jwt.api_jws.encode(json.dumps(claims).encode(), key or key_pair().key, algorithm, {"typ": "JWT"})


def verdict(assertion: str, certificates: tuple[str, ...] | None = None) -> tuple[int, str, str] | None:
    """How the sandbox refuses an assertion; None if it accepts it."""
    client = jwt_client(certificates=certificates)
    bindings = ClientRegistry([client]).bindings(client.client_id)
    try:
        check_assertion(assertion, client, bindings, {HOST}, NOW)
    except ImsRefusal as refusal:
        return refusal.status, refusal.error, refusal.description
    return None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"iat": int(NOW)},
        {"aud": [f"{BASE}/c/{grants.CLIENT_ID}"]},
        {"aud": f"https://{HOST}/c/{grants.CLIENT_ID}"},
        {"exp": int(NOW) - 29},
        {"exp": int(NOW) + 86400},
        {"jti": 1},
        {"jti": "1"},
        {f"{BASE}/s/ent_dataservices_sdk": True},
    ],
)
def test_a_good_assertion_is_accepted(changes: dict[str, Any]) -> None:
    """Assertions like those of Adobe's own clients are accepted, with 30 s of leeway."""
    assert verdict(signed(changes)) is None


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"exp": REMOVED}, 400, "bad_request"),
        ({"exp": "soon"}, 400, "invalid_token"),
        ({"exp": NOW + 300.5}, 400, "invalid_token"),
        ({"exp": True}, 400, "invalid_token"),
        ({"exp": int(NOW) - 30}, 400, "invalid_token"),
        ({"exp": int(NOW) + 86431}, 400, "invalid_token"),
        ({"jti": "x"}, 400, "invalid_token"),
        ({"jti": [1]}, 400, "invalid_token"),
        ({"iss": REMOVED}, 400, "bad_request"),
        ({"iss": grants.OTHER_ORG}, 400, "bad_request"),
        ({"sub": REMOVED}, 400, "bad_request"),
        ({"sub": "someone@techacct.adobe.com"}, 400, "bad_request"),
        ({"aud": REMOVED}, 400, "invalid_token"),
        ({"aud": []}, 400, "invalid_token"),
        ({"aud": [f"{BASE}/c/{grants.CLIENT_ID}"] * 2}, 400, "invalid_token"),
        ({"aud": f"{BASE}/c/another"}, 400, "invalid_client"),
        ({"aud": f"{BASE}/c/{grants.CLIENT_ID}/"}, 400, "invalid_client"),
        ({"aud": f"https://ims-na1.adobelogin.com/c/{grants.CLIENT_ID}"}, 400, "invalid_client"),
        ({"aud": f"ftp://{HOST}/c/{grants.CLIENT_ID}"}, 400, "invalid_client"),
        ({f"{BASE}/s/ent_aem_cloud_api": REMOVED}, 400, "invalid_scope"),
        ({f"{BASE}/s/ent_aem_cloud_api": "true"}, 400, "invalid_scope"),
        ({f"{BASE}/s/ent_unbound_sdk": True}, 400, "invalid_scope"),
        ({"https://ims-na1.adobelogin.com/s/ent_aem_cloud_api": True}, 400, "invalid_scope"),
    ],
)
def test_a_wrong_claim_is_refused_as_ims_does(changes: dict[str, Any], status: int, error: str) -> None:
    """Each claim that is missing, malformed or another client's gets the status and error of IMS."""
    found = verdict(signed(changes))
    assert found is not None
    assert found[:2] == (status, error)


@pytest.mark.parametrize("assertion", ["", "x", "a.b", "a.b.c", "eyJhbGciOiJSUzI1NiJ9.e30.", "x" * 20_000 + ".y.z"])
def test_anything_but_a_jwt_is_refused(assertion: str) -> None:
    """An assertion that is missing or cannot be decoded is ``invalid_token``."""
    found = verdict(assertion)
    assert found is not None
    assert found[:2] == (400, "invalid_token")


@pytest.mark.parametrize(("key", "algorithm"), [("a" * 64, "HS256"), (key_pair().key, "RS384")])
def test_another_algorithm_is_refused(key: Any, algorithm: str) -> None:
    """RS256 is the only algorithm that IMS documents."""
    found = verdict(signed(key=key, algorithm=algorithm))
    assert found is not None
    assert found[:2] == (400, "invalid_signature")


def _certificate(days_from: int, days_to: int) -> str:
    now = datetime.now(UTC)
    begin, end = now + timedelta(days=days_from), now + timedelta(days=days_to)
    return self_signed(key_pair().key, not_before=begin, not_after=end)


@pytest.mark.parametrize(
    "certificates",
    [
        (),
        (key_pair("other").certificate,),
        (_certificate(-10, -1),),
        (_certificate(1, 10),),
    ],
    ids=["none", "other-key", "expired", "not-yet"],
)
def test_a_signature_without_a_current_certificate_matches_no_binding(certificates: tuple[str, ...]) -> None:
    """A wrong key and an expired certificate get the same text, as observed with IMS."""
    text = "Could not match JWT signature to any of the bindings"
    assert verdict(signed(), certificates) == (400, "invalid_token", text)


def test_any_bound_certificate_may_verify() -> None:
    """During a rotation several certificates are bound, and each is accepted."""
    assert verdict(signed(), (key_pair("other").certificate, key_pair().certificate)) is None


def test_a_changed_payload_is_refused() -> None:
    """A signature is valid only for the payload that was signed."""
    head, _, signature = signed().split(".")
    assert verdict(f"{head}.{signed({'exp': int(NOW) + 301}).split('.')[1]}.{signature}") is not None
