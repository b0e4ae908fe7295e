"""Strict JSON for external input: everything that two parsers could read differently is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import NoReturn


def strict_json(unverified: bytes) -> object:
    """Decode a JSON document.

    Args:
        unverified: UTF-8 text. The caller limits its length.

    Returns:
        Dicts, lists, strings, ints, finite floats, bools and None.

    Raises:
        ValueError: It is not UTF-8 or not JSON, or it has duplicate keys, ``NaN``, an infinite number, a number of
            thousands of digits, or too many levels. The message never quotes the document.

    """
    try:
        document: object = json.loads(
            unverified.decode(), parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique
        )
    except _DoubtfulError:
        raise
    except (ValueError, RecursionError):
        # The messages of these errors can quote the document.
        raise ValueError("not well-formed JSON") from None
    return document


class _DoubtfulError(ValueError):
    """The document is well-formed, but ambiguous."""


def _refuse_constant(_name: str) -> NoReturn:
    raise _DoubtfulError("NaN or Infinity in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _DoubtfulError("a number that is too large in JSON")
    return value


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _DoubtfulError("a duplicate key in JSON")
    return members
