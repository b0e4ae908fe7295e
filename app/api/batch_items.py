"""Parses the body of ``POST /tokens``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app.domain.access_token import MAX_MIN_TTL
from app.domain.errors import InvalidRequestError
from app.domain.strict_json import strict_json

MAX_ITEMS = 100

MAX_KNOWN_BODIES = 32
"""Bodies that are not parsed again, of at most `app.api.limits.Limits.body_bytes` each. Clients repeat them."""

_OPTIONAL = ("credential", "scope", "min_ttl")
_MEMBERS = frozenset({"org", *_OPTIONAL})


@dataclass(frozen=True, slots=True)
class Item:
    """One item, of the right shape.

    Args:
        fields: As the fields of a query.
        query: Names what the item asks for, as the query of a ``GET`` does. Two items with the same one are equal.

    """

    fields: Mapping[str, str]
    query: bytes


@lru_cache(MAX_KNOWN_BODIES)
def parse_items(body: bytes) -> tuple[Item, ...]:
    """The items of a body.

    Raises:
        InvalidRequestError: It is not an object with 1 to `MAX_ITEMS` items of the right shape.

    """
    try:
        document: Any = strict_json(body)
    except ValueError:
        document = None
    items = document.get("items") if isinstance(document, dict) and document.keys() == {"items"} else None
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        raise InvalidRequestError(f'The body must be {{"items": [{{"org": "…"}}, …]}}, with 1 to {MAX_ITEMS} items.')
    return tuple(map(_item, items))


def _item(item: object) -> Item:
    if not isinstance(item, dict) or "org" not in item or not item.keys() <= _MEMBERS:
        raise InvalidRequestError(
            f"An item must be an object with org and, optionally, {', '.join(sorted(_OPTIONAL))}."
        )
    fields = {**item, "min_ttl": str(_whole_seconds(item["min_ttl"]))} if "min_ttl" in item else item
    for value in fields.values():
        if not isinstance(value, str):
            raise InvalidRequestError("The members of an item must be text, except min_ttl.")
    # The form of a Python literal, because it is quick, unambiguous and complete: a text may have any character.
    return Item(fields, repr(sorted(fields.items())).encode())


def _whole_seconds(min_ttl: object) -> int:
    if isinstance(min_ttl, float) and min_ttl.is_integer():
        min_ttl = int(min_ttl)  # 60.0 is a whole number in JSON, too.
    if not isinstance(min_ttl, int) or isinstance(min_ttl, bool) or not 0 <= min_ttl <= MAX_MIN_TTL:
        raise InvalidRequestError(f"min_ttl must be a whole number from 0 to {MAX_MIN_TTL}.")
    return min_ttl
