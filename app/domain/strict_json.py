"""JSON from outside, read strictly: whatever two readers could understand differently is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import NoReturn


def strict_json(unverified: bytes) -> object:
    """Decode a JSON document.

    Args:
        unverified: UTF-8 text. The caller bounds its length.

    Returns:
        Dicts, lists, strings, ints, finite floats, bools and None.

    Raises:
        ValueError: Not UTF-8, not JSON, or with duplicate keys, ``NaN``, an infinite number, a number of
            thousands of digits, or too deep a nesting. The text names no part of the document.

    """
    try:
        document: object = json.loads(
            unverified.decode(), parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique
        )
    except _DoubtfulError:
        raise
    except (ValueError, RecursionError):
        # The texts of these errors can hold the document itself.
        raise ValueError("not well-formed JSON") from None
    return document


class _DoubtfulError(ValueError):
    """Well-formed, but with more than one meaning."""


def _refuse_constant(_name: str) -> NoReturn:
    raise _DoubtfulError("NaN or Infinity in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _DoubtfulError("a number that is too large in JSON")
    return value


def _unique(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, value in pairs:
        if name in members:
            raise _DoubtfulError("a duplicate key in JSON")
        members[name] = value
    return members
