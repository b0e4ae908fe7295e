"""Typed access to a credential's document of unknown content. Errors name the field, never its value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from app.domain.pem import PemError
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.domain.unknown_fields import unknown_fields

SEPARATORS = re.compile(r"[,\s]+")
"""What stands between the items of a list in one string."""

STORE_AS_JSON = "store the whole document as JSON, for example with `vault kv put PATH @document.json`"


def is_json_text(value: object) -> bool:
    """Whether a value is text that begins and ends as a JSON list or object does."""
    text = value.strip() if isinstance(value, str) else ""
    return text[:1] + text[-1:] in {"[]", "{}"}


class DocumentReader:
    """Reads the fields of a document.

    Args:
        document: The decoded JSON object.

    """

    def __init__(self, document: Mapping[object, object]) -> None:
        # An absent field and a null field mean the same, because consoles export both.
        self._values = {name: value for name, value in document.items() if value is not None}

    def refuse_unknown(self, known: frozenset[str], ignored: frozenset[str]) -> None:
        """Refuse a misspelt field: its value may be a secret, and the real field would be missing.

        Args:
            known: The fields that mean something.
            ignored: Fields that may be there and mean nothing.

        """
        if len(self._values) == 1 and not known & self._values.keys() and is_json_text(*self._values.values()):
            # `vault kv put PATH value=@document.json` stores the document as the text of one field.
            raise CredentialMisconfiguredError("document", f"is a string that contains JSON; {STORE_AS_JSON}")
        problem = unknown_fields([name for name in self._values if name not in ignored], known)
        if problem is not None:
            raise CredentialMisconfiguredError("document", problem)

    def has(self, name: str) -> bool:
        """Whether the document has a field, and it is not null."""
        return name in self._values

    def text(self, name: str) -> str:
        """The text of a required field, without blanks at its ends."""
        value = self._required(name)
        if not isinstance(value, str) or not value.strip():
            raise CredentialMisconfiguredError(name, "must be a non-empty string")
        return value.strip()

    def optional_text(self, name: str) -> str | None:
        """The text of a field as it stands, or None."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise CredentialMisconfiguredError(name, "must be a string")
        return value

    def matching(self, name: str, pattern: re.Pattern[str], expected: str) -> str:
        """The text of a required field that matches `pattern`; `expected` says in words what must be there."""
        value = self.text(name)
        if pattern.fullmatch(value) is None:
            raise CredentialMisconfiguredError(name, f"must be {expected}")
        return value

    def optional(self, name: str, pattern: re.Pattern[str], expected: str) -> str | None:
        """As `matching`, or None if the field is absent."""
        return self.matching(name, pattern, expected) if name in self._values else None

    def listed(self, name: str) -> list[str]:
        """The items of a required list of strings, which may be one string with commas or blanks between them."""
        value = self._required(name)
        if isinstance(value, str):
            self._refuse_json(name, value)
            return [item for item in SEPARATORS.split(value) if item]
        if isinstance(value, Mapping):
            raise CredentialMisconfiguredError(name, f"is an object where a list is expected; {STORE_AS_JSON}")
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise CredentialMisconfiguredError(name, "must be a list of strings")
        self._refuse_json(name, *value)
        return value

    def _refuse_json(self, name: str, *texts: object) -> None:
        if any(map(is_json_text, texts)):
            raise CredentialMisconfiguredError(name, f"is a string that contains JSON; {STORE_AS_JSON}")

    def pem(self, name: str, read: Callable[[object], str]) -> str | None:
        """The PEM text of a field as `read` takes it, or None; `read` raises `PemError`."""
        if name not in self._values:
            return None
        value = self._values[name]
        self._refuse_json(name, *(value if isinstance(value, list) else [value]))
        if isinstance(value, Mapping):
            raise CredentialMisconfiguredError(name, f"is an object where PEM text is expected; {STORE_AS_JSON}")
        try:
            return read(value)
        except PemError as error:
            raise CredentialMisconfiguredError(name, str(error)) from None

    def _required(self, name: str) -> object:
        if name not in self._values:
            raise CredentialMisconfiguredError(name, "is required")
        return self._values[name]
