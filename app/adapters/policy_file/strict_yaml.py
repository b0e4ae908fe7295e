"""A YAML reader that refuses what could mislead: what it reads is what a person reads."""

from __future__ import annotations

import re
from typing import Any

import yaml

from app.domain.plain_document import PolicyError
from app.domain.rfc3339 import RFC3339_TIME

_MAX_DEPTH = 16
_PROBLEM = re.compile(r"[ -~]{1,100}")
# Line breaks that YAML sees and an editor may not, characters of no width, and those that turn the writing direction:
# with them a rule can stand in what looks like a comment.
_MISLEADING = re.compile(
    "[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\r(?!\n)"
)
_PIECE = 100_000
"""Characters that are searched at once, in less than a millisecond: a search does not let other threads run."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_IMPLICIT: dict[str, list[tuple[str, re.Pattern[str]]]] = yaml.SafeLoader.yaml_implicit_resolvers
_NULL, _INT, _TIMESTAMP = (f"tag:yaml.org,2002:{name}" for name in ("null", "int", "timestamp"))
_RFC3339 = re.compile(RFC3339_TIME)


def decode_policy(content: bytes) -> object:
    """Decode YAML into dicts, lists, strings, integers and booleans.

    Refused, besides what is not YAML or not UTF-8: invisible characters, a key given twice, anchors and aliases, tags,
    a second document, keys that are not text, deep nesting, and plain words that YAML reads as something else than
    text (``yes``, ``1.5``, ``2026-01-01``). A time in the form of RFC 3339 is text, with quotes or without.

    Raises:
        PolicyError: With the line as its place; never with a part of the content.

    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PolicyError("policy", "must be UTF-8") from None
    misleading = _first_misleading(text)
    if misleading is not None:
        line = text.count("\n", 0, misleading) + 1
        raise PolicyError(f"line {line}", "must not have invisible characters")
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise _not_yaml(error) from None
    return builder.document


def _first_misleading(text: str) -> int | None:
    for start in range(0, len(text), _PIECE):
        # With the character after the piece, because that is what tells whether a carriage return ends a line.
        found = _MISLEADING.search(text, start, start + _PIECE + 1)
        if found is not None and found.start() < start + _PIECE:
            return found.start()
    return None


def _not_yaml(error: yaml.YAMLError) -> PolicyError:
    """Place and problem in libyaml's words, which are constants; not its excerpt of the file."""
    problem = getattr(error, "problem", None)
    known = isinstance(problem, str) and _PROBLEM.fullmatch(problem) is not None
    return PolicyError(
        _line(getattr(error, "problem_mark", None)), f"must be YAML: {problem}" if known else "must be YAML"
    )


class _Builder:
    """Builds the document from the parser's events, without recursion, so that no nesting can exhaust a stack."""

    def __init__(self) -> None:
        self.document: object = None
        self._documents = 0
        self._stack: list[dict[str, object] | list[object]] = []
        self._keys: list[str | None] = []

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent():
                self._open(event, {})
            case yaml.SequenceStartEvent():
                self._open(event, [])
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._stack.pop()
                self._keys.pop()
            case yaml.AliasEvent():
                raise _at(event, "must not use aliases")
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise _at(event, "must not begin a second document")
            case _:
                pass  # The end of a document and of the stream.

    def _open(self, event: yaml.CollectionStartEvent, container: dict[str, object] | list[object]) -> None:
        self._refuse_anchor_and_tag(event)
        if len(self._stack) >= _MAX_DEPTH:
            raise _at(event, "must not be nested so deeply")
        if self._expects_key():
            raise _at(event, "must have text as a key")
        self._put(container)
        self._stack.append(container)
        self._keys.append(None)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._refuse_anchor_and_tag(event)
        value = event.value if not event.implicit[0] else _plain(event)
        if not self._expects_key():
            self._put(value)
            return
        if not isinstance(value, str):
            raise _at(event, "must have text as a key")
        if value in self._stack[-1]:
            raise _at(event, "must not give a key twice")
        self._keys[-1] = value

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1], dict) and self._keys[-1] is None

    def _put(self, value: object) -> None:
        if not self._stack:
            self.document = value
            return
        container = self._stack[-1]
        if isinstance(container, list):
            container.append(value)
            return
        key = self._keys[-1]
        assert key is not None  # noqa: S101  # _expects_key was asked before
        container[key] = value
        self._keys[-1] = None

    @staticmethod
    def _refuse_anchor_and_tag(event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.anchor is not None:
            raise _at(event, "must not use anchors")
        if event.tag is not None:
            raise _at(event, "must not use tags")


def _plain(event: yaml.ScalarEvent) -> str | int | bool | None:
    """A word without quotes, as YAML 1.1 reads it."""
    value: str = event.value
    if value in {"true", "false"}:  # YAML 1.1 has more spellings, such as yes and on: they must be in quotes.
        return value == "true"
    for tag, pattern in _IMPLICIT.get(value[:1], ()):
        if pattern.match(value) is None:
            continue
        if tag == _NULL:
            return None
        if tag == _TIMESTAMP and _RFC3339.fullmatch(value) is not None:
            return value  # It stays the text that it is.
        if tag == _INT and len(value) < 20 and value.isascii() and value.isdecimal():
            return int(value)
        raise _at(event, "must be in quotes, since YAML reads it as something else than text")
    return value


def _at(event: yaml.Event, expected: str) -> PolicyError:
    return PolicyError(_line(event.start_mark), expected)


def _line(mark: Any) -> str:
    return "policy" if mark is None else f"line {mark.line + 1}"
