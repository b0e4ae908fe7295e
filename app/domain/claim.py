"""The claims of a JWT that a policy compares: exactly, by name, type and value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

Claim = tuple[str, str, str | int | bool]
"""Name, type and value. The type is part of it, because in Python ``True == 1``."""

Requirement = frozenset[Claim]
"""Claims of one name; a JWT must have at least one of them."""


def claims_of(name: str, value: object) -> Iterator[Claim]:
    """The claims that ``value`` states: one if it is text, a whole number or a boolean; of a list, one for each item.

    Anything else (null, a fraction, a mapping, a list in a list) states nothing that can be compared.
    """
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, str | int):  # a boolean is an int, too
            yield name, type(item).__name__, item


def compared_claims(claims: Mapping[str, object], names: Iterable[str]) -> frozenset[Claim]:
    """What ``claims`` state of these names."""
    return frozenset(claim for name in names if name in claims for claim in claims_of(name, claims[name]))
