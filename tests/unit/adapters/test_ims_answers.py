"""The meaning of refusals and delays of IMS."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.ims.refusals import cleaned, rejection
from app.adapters.ims.retry_after import retry_after
from app.domain.grant import Grant
from app.domain.tenant_errors import BadUpstreamResponseError, CredentialRejectedError
from tests.support import grants

NOW = 1_800_000_000.0
JWT, OAUTH = grants.jwt_exchange(), grants.oauth_exchange()
APP = grants.oauth_exchange(credential=grants.enterprise_credential())


@pytest.mark.parametrize(("grant", "status", "error", "description", "names"), [
    (JWT, 400, "invalid_token", "Could not match JWT signature to any of the bindings", "certificate"),
    (JWT, 400, "invalid_token", "Could not match signature to any of the bindings", "certificate"),
    (JWT, 400, "invalid_signature", None, "certificate"),
    (JWT, 400, "invalid_scope", "The metascopes in the JWT are not a subset of the metascopes in the binding.",
     "check metascopes"),
    (JWT, 400, "invalid_scope", None, "check metascopes"),
    (JWT, 400, "invalid_token", "JWT token has expired", "clock"),
    (JWT, 400, "invalid_token", "", "technical_account_id"),
    (JWT, 400, "bad_request", "sub is malformed", "technical_account_id"),
    (JWT, 400, "invalid_client", None, "check client_id"),
    (JWT, 401, "invalid_client", None, "client_secrets"),
    (OAUTH, 400, "invalid_client", "invalid client_secret parameter", "client_secrets"),
    (OAUTH, 400, "invalid_client", "invalid client_id parameter", "check client_id"),
    (OAUTH, 401, "invalid_client", None, "client_secrets"),
    (OAUTH, 400, "invalid_scope", None, "copy scopes"),
    (OAUTH, 400, "invalid_target_scope", None, "copy scopes"),
    (OAUTH, 400, "unauthorized_client", None, "check kind"),
    (APP, 400, "unauthorized_client", None, "consent"),
    (OAUTH, 400, "something_new", "canary", "Developer Console"),
    (OAUTH, 400, "bad_request", None, "Developer Console"),
])  # fmt: skip
def test_a_refusal_names_its_remedy(grant: Grant, status: int, error: str, description: str | None, names: str) -> None:
    """Each known refusal has a remedy; the text of IMS is not repeated."""
    refusal = rejection(grant, status, {"error": error, "error_description": description}, "debug")
    assert isinstance(refusal, CredentialRejectedError)
    assert names in refusal.detail
    assert (refusal.ims_error, refusal.debug_id) == (error, "debug")
    assert refusal.secret_refused is (error == "invalid_client")
    assert description is None or not description or description not in refusal.detail


@pytest.mark.parametrize(("grant", "signs"), [(JWT, True), (OAUTH, False), (APP, False)])
def test_the_assertion_is_named_only_if_the_kind_has_one(grant: Grant, signs: bool) -> None:
    """A client that IMS does not know is named without an assertion, unless the kind has one."""
    refusal = rejection(grant, 400, {"error": "invalid_client", "error_description": "invalid client_id"}, None)
    assert ("check client_id" in refusal.detail, "assertion" in refusal.detail) == (True, signs)


@pytest.mark.parametrize("payload", [None, [], "text", {}, {"error": None}, {"error": 5}, {"error": " "}])
def test_a_body_without_an_error_code_is_not_a_refusal_by_ims(payload: object) -> None:
    """A proxy's 401 does not mark a credential as rejected."""
    assert isinstance(rejection(OAUTH, 401, payload, None), BadUpstreamResponseError)


@pytest.mark.parametrize(("text", "expected"), [
    (None, None), ("", None), ("  ", None), ("invalid_client", "invalid_client"), ("a.b-c_9", "a.b-c_9"),
    ("a\r\nb c<script>", "abcscript"), ("x" * 65, "x" * 64), ("éü", None), ("has the-secret-value!", None),
    ("the-secret\n-value", None), ("y" * 70 + "the-secret-value", None), ("THE-SECRET-VAL", None), ("secret-v", None),
    ("secret-", "secret-"),
])  # fmt: skip
def test_an_identifier_is_cleaned(text: str | None, expected: str | None) -> None:
    """Up to 64 plain characters are kept, or nothing if they contain a secret."""
    assert cleaned(text, ["x", "the-secret-value"]) == expected


@given(
    st.text("abcAB_.-! ", max_size=90),
    st.lists(st.text("abcAB_.-! ", max_size=60), max_size=3),
    st.integers(0, 40),
    st.integers(0, 20),
)
def test_an_identifier_with_eight_consecutive_characters_of_a_secret_is_not_shown(
    text: str, secrets: list[str], begin: int, length: int
) -> None:
    """Searching the secrets for parts of the identifier finds the same as searching it for parts of the secrets."""
    if secrets:
        text += secrets[0][begin : begin + length]
    plain, *plain_secrets = (re.sub(r"[^A-Za-z0-9_.-]", "", word) for word in (text, *secrets))
    parts = {secret.lower()[at : at + 8] for secret in plain_secrets for at in range(len(secret) - 7)}
    repeats = any(part in plain.lower() for part in parts)
    assert cleaned(text, secrets) == (None if repeats else plain[:64] or None)


def http_date(seconds: float) -> str:
    """The HTTP date this number of seconds from now."""
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


@pytest.mark.parametrize(("value", "expected"), [
    (None, 5), ("120", 120), (" 7 ", 7), ("0", 1), ("3600", 3600), ("3601", 3600), ("1000000000", 3600),
    ("9" * 5000, 3600), ("-5", 5), ("+5", 5), ("1.5", 5), ("1e3", 5), ("soon", 5), ("", 5), ("٣", 5), ("5, 6", 5),
    ("0x10", 5), (http_date(90), 90), (http_date(0), 1), (http_date(-90), 5), (http_date(10**6), 3600),
    ("Sun, 06 Nov 1994 08:49:37 GMT", 5), ("Fri, 99 Foo 2099 99:99:99 GMT", 5), ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
    ("Friday", 5), ("Fri, 31 Dec 99999999999 23:59:59 GMT", 5), ("nan", 5), ("inf", 5),
])  # fmt: skip
def test_every_form_of_retry_after_is_read(value: str | None, expected: float) -> None:
    """Seconds or a date give 1 s to an hour; an invalid value gives 5 s."""
    assert retry_after(value, NOW) == expected
