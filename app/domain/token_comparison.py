"""What differs between two tokens of one tenant, as a caller of Adobe's APIs would notice it.

No one but Adobe can verify these tokens, so their claims are only compared. Of a token, only its scopes, client
id and technical account are shown, which callers see anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.grant import IssuedToken
from app.domain.names import Scope
from app.domain.token_response import readable_claims

_CLAIMS = ("client_id", "user_id", "org", "as", "type")
_WHO = ("org", "user_id")
"""Whose token it is: another one has other permissions."""

_SHORTER = 0.9
"""A life below this share of the other one is a difference."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Args:
        what: What differs: ``scope``, ``lifetime``, or the name of a claim.
        before: Its value before, for a person; empty if there was none.
        after: Its value after, for a person; empty if there is none.
        is_loss: Whether a caller may miss something.

    """

    what: str
    before: str
    after: str
    is_loss: bool


def compare_tokens(before: IssuedToken, after: IssuedToken) -> tuple[Difference, ...]:
    """The differences from one token to another."""
    return (*_scopes(before.scopes, after.scopes), *_claims(before.value, after.value), *_life(before, after))


def _scopes(before: tuple[Scope, ...], after: tuple[Scope, ...]) -> tuple[Difference, ...]:
    if set(before) == set(after):
        return ()
    # The scopes of a JWT credential are metascopes, which have other names: a person must compare them.
    lost = sorted(set(before) - set(after))
    gained = sorted(set(after) - set(before))
    return (Difference("scope", " ".join(lost), " ".join(gained), is_loss=bool(lost) and not _are_metascopes(before)),)


def _are_metascopes(scopes: tuple[Scope, ...]) -> bool:
    return all(scope.startswith("ent_") or "/s/" in scope for scope in scopes)


def _claims(before: str, after: str) -> tuple[Difference, ...]:
    old, new = readable_claims(before), readable_claims(after)
    return tuple(
        # Another client id means another x-api-key, which the broker hands out with the token.
        Difference(name, str(old.get(name, "")), str(new.get(name, "")), is_loss=name in old and name in _WHO)
        for name in _CLAIMS
        if old.get(name) != new.get(name)
    )


def _life(before: IssuedToken, after: IssuedToken) -> tuple[Difference, ...]:
    old, new = before.expires_at - before.issued_at, after.expires_at - after.issued_at
    if new >= old * _SHORTER:
        return ()
    return (Difference("lifetime", f"{old:.0f} s", f"{new:.0f} s", is_loss=False),)
