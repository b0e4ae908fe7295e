"""Says which fields of a document are unknown, without repeating what may be a secret."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches

_NAME = re.compile(r"[A-Za-z_]{1,40}")
"""What looks like a name. A secret that was pasted in place of a name has digits or hyphens as a rule."""


def unknown_fields(given: Collection[object], known: Collection[str]) -> str | None:
    """What is wrong with the names of a document's fields, as the end of a sentence; None if all are known.

    Args:
        given: The names in the document.
        known: The names that it may have.

    """
    unknown = [name for name in given if name not in known]
    if not unknown:
        return None
    named = sorted(name for name in unknown if isinstance(name, str) and _NAME.fullmatch(name))
    if not named:
        return f"has an unknown field; the known fields are {', '.join(sorted(known))}"
    similar = get_close_matches(named[0].lower(), list(known), 1)
    hint = f"did you mean {similar[0]}?" if similar else f"the known fields are {', '.join(sorted(known))}"
    return f"has the unknown field {named[0]}; {hint}"
