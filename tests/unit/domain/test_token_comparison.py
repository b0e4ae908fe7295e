"""Two tokens of one tenant: what a caller may miss after a migration."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import pytest

from app.domain.grant import IssuedToken
from app.domain.names import scopes_of
from app.domain.token_comparison import Difference, compare_tokens


def issued(*scopes: str, life: float = 86_400.0, claims: Mapping[str, str] | None = None) -> IssuedToken:
    """A token with these scopes and claims."""
    payload = base64.urlsafe_b64encode(json.dumps(claims or {}).encode()).decode().rstrip("=")
    return IssuedToken(f"eyJhbGciOiJSUzI1NiJ9.{payload}.c2ln", scopes_of(scopes or ("openid",)), 1.9e9, 1.9e9 + life)


def having(claim: str, value: str) -> IssuedToken:
    """A token with one claim."""
    return issued(claims={claim: value})


def test_the_same_token_has_no_difference() -> None:
    """Neither the order of scopes, nor an issue time, nor other claims are a difference."""
    assert (
        compare_tokens(
            issued("a", "b", claims={"org": "x", "nonce": "1"}), issued("b", "a", claims={"org": "x", "nonce": "2"})
        )
        == ()
    )


@pytest.mark.parametrize(("before", "after", "lost", "gained", "is_loss"), [
    (("a", "b"), ("a",), "b", "", True), (("a",), ("a", "b"), "", "b", False), (("a",), ("b",), "a", "b", True),
    (("ent_a_sdk", "https://ims-na1.adobelogin.com/s/ent_b_sdk"), ("openid",),
     "ent_a_sdk https://ims-na1.adobelogin.com/s/ent_b_sdk", "openid", False),
    (("ent_a_sdk", "a"), ("openid",), "a ent_a_sdk", "openid", True),
])  # fmt: skip
def test_a_scope_that_is_missing_is_a_loss(
    before: tuple[str, ...], after: tuple[str, ...], lost: str, gained: str, is_loss: bool
) -> None:
    """Metascopes alone have other names in the new flow, so their absence says nothing by itself."""
    assert compare_tokens(issued(*before), issued(*after)) == (Difference("scope", lost, gained, is_loss),)


@pytest.mark.parametrize(("claim", "is_loss"), [
    ("org", True), ("user_id", True), ("client_id", False), ("as", False), ("type", False),
])  # fmt: skip
def test_another_owner_is_a_loss_and_another_client_is_not(claim: str, is_loss: bool) -> None:
    """The org and the technical account have the permissions; a claim that was not there before cannot be missed."""
    assert compare_tokens(having(claim, "1"), having(claim, "2")) == (Difference(claim, "1", "2", is_loss),)
    assert compare_tokens(having(claim, "1"), issued()) == (Difference(claim, "1", "", is_loss),)
    assert compare_tokens(issued(), having(claim, "2")) == (Difference(claim, "", "2", is_loss=False),)


def test_a_much_shorter_life_is_named() -> None:
    """Below nine tenths of the life before it is a difference, though not a loss."""
    assert compare_tokens(issued(life=1_000.0), issued(life=900.0)) == ()
    [found] = compare_tokens(issued(life=1_000.0), issued(life=899.0))
    assert found == Difference("lifetime", "1000 s", "899 s", is_loss=False)
