"""Explains bad settings: each sentence names the variable and what is expected, and never quotes a value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from pydantic_core import ErrorDetails

PREFIX = "BROKER_"
"""Every variable of the broker begins with it."""

_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)|_PORT_[0-9]+_(TCP|UDP)|_PORT$")


class SettingsError(ValueError):
    """The environment is wrong; the text has a sentence for each variable and what is expected, never a value."""


def explain_unknown(name: str, known: Iterable[str]) -> str:
    """Say that a variable is unknown, and what was probably meant.

    Args:
        name: The variable.
        known: All variables.

    """
    similar = get_close_matches(name.upper(), list(known), 1)
    if _SERVICE_LINK.search(name):
        return f"Unknown variable {name}: if Kubernetes injects it, set enableServiceLinks: false."
    return f"Unknown variable {name}{f': did you mean {similar[0]}?' if similar else '.'}"


def explain_defect(defect: ErrorDetails) -> str:
    """Say what is expected of a variable, in our words if pydantic's are only for programmers."""
    context = defect.get("ctx", {})
    match defect["type"]:
        case "literal_error":
            expected = f"must be {str(context['expected']).replace(chr(39), '')}"
        case "bool_parsing" | "bool_type":
            expected = "must be true or false"
        case "string_pattern_mismatch":
            expected = "has a character that is not allowed there, or is too long"
        case "int_parsing" | "int_parsing_size" | "int_from_float":
            expected = "must be a whole number"
        case "greater_than_equal":
            expected = f"must be a whole number of {context['ge']} or more"
        case "less_than_equal":
            expected = f"must be a whole number of {context['le']} or less"
        case _:
            expected = defect["msg"].removeprefix("Value error, ")
    return f"{PREFIX}{str(defect['loc'][0]).upper()}: {expected}"
