"""Typed access to a decoded document of unknown content, for the parts of a policy file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.domain.unknown_fields import unknown_fields

Fields = Mapping[str, object]
"""The fields of a decoded mapping in a policy file, by name."""


class PolicyError(ValueError):
    """A policy file is refused as a whole.

    Args:
        place: The place in the file, such as ``callers[2].allow[0].orgs``.
        expected: What was expected there.

    """

    def __init__(self, place: str, expected: str) -> None:
        super().__init__(f"{place}: {expected}")
        self.place = place
        self.expected = expected


class UnreadablePolicyError(PolicyError):
    """The policy file is missing, or cannot be read."""


def fields_of(value: object, place: str, known: frozenset[str], required: tuple[str, ...] = ()) -> Fields:
    """`value` as a mapping with only `known` fields.

    A misspelt field must not be ignored: it may be the one that narrows a rule.

    Raises:
        PolicyError: It is not a mapping, it has an unknown field, or a `required` field is missing.

    """
    if not isinstance(value, dict):
        raise PolicyError(place, "must be a mapping")
    if (problem := unknown_fields(value, known)) is not None:
        raise PolicyError(place, problem)
    for name in required:
        if name not in value:
            raise PolicyError(place, f"must have {name}")
    return value


def is_blank(value: object) -> bool:
    """Whether a field or an item says nothing: null, or an empty text, list or mapping."""
    return value is None or value in ("", [], {})


def items_of(value: object, place: str) -> Iterator[tuple[str, object]]:
    """The items of a list, each with its place, without the blank ones. A blank value is an empty list.

    Raises:
        PolicyError: It is not a list.

    """
    if is_blank(value):
        return
    if not isinstance(value, list):
        raise PolicyError(place, "must be a list")
    for index, item in enumerate(value):
        if not is_blank(item):
            yield f"{place}[{index}]", item


def text_of(value: object, place: str, longest: int) -> str:
    """`value` as text of 1 to `longest` printable characters.

    Raises:
        PolicyError: Anything else.

    """
    if not isinstance(value, str) or not 1 <= len(value) <= longest or not value.isprintable():
        raise PolicyError(place, f"must be text of 1 to {longest} printable characters")
    return value
