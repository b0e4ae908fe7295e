"""What is made once of a token, and when a new one is better than the one before it."""

from __future__ import annotations

import hashlib

import pytest

from app.domain.access_token import AccessToken
from app.domain.names import Scope
from tests.factories import make_token

OLD = make_token(value="old", life=1000.0, epoch=3)
SAME_END = OLD.expires_at - OLD.minted_at


def test_what_many_tokens_have_in_common_is_in_memory_once() -> None:
    """The texts of kind, host, generation and scopes are one object each, and unchanged."""
    parts = ["kind-of-a-test", "https://host.example", "generation-9", "scope-a"]
    first, second = (
        AccessToken(OLD.key, "v", "client", kind, host, (Scope(scope),), generation, 0, 0.0, 10.0, 5.0)
        for kind, host, generation, scope in ([str(bytes(p, "ascii"), "ascii") for p in parts] for _ in range(2))
    )
    texts = [[token.kind, token.ims_base_url, token.generation, token.scopes[0]] for token in (first, second)]
    assert texts == [parts, parts]
    assert all(one is other for one, other in zip(*texts, strict=True))


@pytest.mark.parametrize(("value", "is_plain"), [("eyJ.a-b_c", True), ('quo"te', False), ("back\\slash", False)])
def test_a_token_knows_its_hash_and_whether_json_changes_it(value: str, is_plain: bool) -> None:
    """The hash is the SHA-256 of its text; a text without an escape is the same in JSON."""
    token = make_token(value=value)
    assert token.sha256 == hashlib.sha256(value.encode()).hexdigest()
    assert token.is_plain_in_json is is_plain


@pytest.mark.parametrize(("value", "life", "epoch", "behind", "better"), [
    ("new", SAME_END + 1.0, 3, 0.0, False), ("new", SAME_END + 1.5, 3, 0.0, True),
    ("new", SAME_END - 10.0, 3, 0.0, False), ("new", SAME_END - 1.5, 3, 0.0, False),
    ("new", SAME_END - 8.0, 3, 10.0, True), ("new", SAME_END - 9.0, 3, 10.0, False),
    ("old", SAME_END + 100.0, 3, 0.0, False),
    ("new", 1.0, 4, 0.0, True), ("old", SAME_END, 4, 0.0, True), ("new", SAME_END + 100.0, 2, 0.0, False),
])  # fmt: skip
def test_a_new_token_outlives_one_that_ends_a_second_earlier_or_is_of_an_older_epoch(
    value: str, life: float, epoch: int, behind: float, better: bool
) -> None:
    """Another token, which ends more than a second later, or as much earlier as the clock was set back since."""
    assert make_token(value=value, life=life, epoch=epoch).outlives(OLD, behind) is better


def test_a_clock_that_was_not_set_back_is_the_default() -> None:
    """A token that ends half a second later does not live longer."""
    assert not make_token(value="new", life=SAME_END + 0.5, epoch=3).outlives(OLD)
