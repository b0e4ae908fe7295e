"""Says which fields of a document are unknown, without repeating what may be a secret."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches

_WORD = r"(?:[a-z]+|[A-Z]+)[0-9]{0,3}"
_NAME = re.compile(rf"(?!itb_)(?=.{{1,40}}\Z)(?:{_WORD}(?:[_-]{_WORD})*|[a-z]+(?:[A-Z][a-z]+)+)")
"""What looks like a name: words such as ``client_secret``, ``api_key_sha256``, ``rate-limit`` and ``clientId``. A
random secret that was pasted in place of a name has no such form, and an API key of the broker begins with ``itb_``."""


def unknown_fields(given: Collection[object], known: Collection[str]) -> str | None:
    """What is wrong with the names of a document's fields, as the end of a sentence; None if all are known.

    Args:
        given: The names in the document.
        known: The names that it may have.

    """
    unknown = [name for name in given if name not in known]
    if not unknown:
        return None
    list_of_known = f"the known fields are {', '.join(sorted(known))}"
    for name in sorted(name for name in unknown if isinstance(name, str) and _NAME.fullmatch(name)):
        similar = get_close_matches(name.lower(), sorted(known), 1)
        if similar:
            return f"has the unknown field {name} (did you mean {similar[0]}?)"
        if not any(map(str.isdigit, name)):  # a password may be a word with a digit
            return f"has the unknown field {name}; {list_of_known}"
    return f"has an unknown field; {list_of_known}"
