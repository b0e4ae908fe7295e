"""Rules of a policy in words, for the ``policy`` commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from typing import TYPE_CHECKING

from app.domain.policy import TOKEN_ACTIONS
from app.domain.rfc3339 import rfc3339

if TYPE_CHECKING:
    from app.domain.policy import Action, Rule

MAX_LISTED = 10
"""Items that are printed; any more are only counted."""


def listed(items: Iterable[str], hint: str = "") -> str:
    """The items, sorted and separated by commas.

    Args:
        items: At most `MAX_LISTED` of them are printed.
        hint: Where the others are to be found; printed if there are more.

    """
    found = sorted(items)
    more = len(found) - MAX_LISTED
    return ", ".join(found[:MAX_LISTED]) + (f" and {more} more{hint}" if more > 0 else "")


def token_scopes(actions: Set[Action], scopes: Iterable[str] | None) -> Iterator[str]:
    """Scopes in words, or that there is no limit to them; nothing if none of the actions is answered with a token."""
    if not TOKEN_ACTIONS.isdisjoint(actions):
        yield "all scopes of the credential" if scopes is None else f"the scopes {listed(scopes)}"


def described(rule: Rule) -> str:
    """What a rule allows."""
    orgs = "every org" if rule.orgs is None else listed(rule.orgs)
    end = () if rule.not_after is None else (f"until {rfc3339(rule.not_after)}",)
    scopes, credentials = token_scopes(rule.actions, rule.scopes), f"credential {listed(rule.credentials)}"
    return "; ".join((listed(rule.actions), orgs, credentials, *scopes, *end))
