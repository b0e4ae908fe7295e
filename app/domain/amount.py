"""Numbers of things in sentences."""

from __future__ import annotations


def amount(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun: "1 scope", "2 scopes".

    Args:
        number: How many there are.
        singular: The noun for one.
        plural: The noun for all other numbers; with an ``s`` unless given.

    """
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"
