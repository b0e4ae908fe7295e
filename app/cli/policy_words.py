"""Rules of a policy in words, for the ``policy`` commands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.domain.rfc3339 import rfc3339

if TYPE_CHECKING:
    from app.domain.policy import Rule

MAX_LISTED = 10
"""Items that are printed; any more are only counted."""


def listed(items: Iterable[str]) -> str:
    """The items, sorted and separated by commas; at most `MAX_LISTED` of them."""
    found = sorted(items)
    more = len(found) - MAX_LISTED
    return ", ".join(found[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def scopes_in_words(scopes: Iterable[str] | None) -> str:
    """Scopes, or that there is no limit to them."""
    return "all scopes of the credential" if scopes is None else f"the scopes {listed(scopes)}"


def described(rule: Rule) -> str:
    """What a rule allows."""
    orgs = "every org" if rule.orgs is None else listed(rule.orgs)
    end = "" if rule.not_after is None else f"; until {rfc3339(rule.not_after)}"
    scopes = scopes_in_words(rule.scopes)
    return f"{listed(rule.actions)}; {orgs}; credential {listed(rule.credentials)}; {scopes}{end}"
