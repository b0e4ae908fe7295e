"""Text from outside, as it may be printed to a terminal."""

from __future__ import annotations

LONGEST = 1000
"""Characters that are printed of one text from outside."""


def printable(value: object, longest: int = LONGEST) -> str:
    """`value`, if it is text, without what a terminal might obey: each control character becomes a space.

    Args:
        value: From a server or a file that may be anything; what is not text is left out.
        longest: The rest is cut off.

    """
    if not isinstance(value, str):
        return ""
    return "".join(character if character.isprintable() else " " for character in value[:longest])
