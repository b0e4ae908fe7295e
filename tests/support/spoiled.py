"""Hypothesis strategies for documents from outside: any JSON, and a good document with some places spoiled."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

# JSON can name halves of surrogate pairs, which Python keeps, and which cannot be encoded as UTF-8.
TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.sampled_from(["", " ", "0", "9" * 400, "1e400", "\x00", "{}", "[", "-----BEGIN CERTIFICATE-----", "a,b c"])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
_DELETED = object()


def places(document: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """The path of each value in a document, the whole document first."""
    yield path
    inner: Any = document
    members = inner.items() if isinstance(document, Mapping) else enumerate(inner) if isinstance(document, list) else ()
    for name, value in members:
        yield from places(value, (*path, name))


def _replaced(document: object, path: tuple[object, ...], value: object) -> object:
    if not path:
        return document if value is _DELETED else value
    changed: Any = copy.deepcopy(document)
    node: Any = changed
    for step in path[:-1]:
        node = node[step]
    if value is _DELETED:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return changed


@st.composite
def spoiled(draw: st.DrawFn, document: object) -> Any:
    """`document` with one to three places deleted or replaced by any JSON."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(document))))
        document = _replaced(document, path, draw(st.just(_DELETED) | JSON))
    return document


def encoded(document: object) -> bytes:
    """As JSON text; halves of surrogate pairs are escaped."""
    return json.dumps(document).encode()
