"""What a change of a credential's document changes, described without values: for terminals, logs and reports."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.credential import CredentialKind
from app.domain.document_reader import SEPARATORS
from app.domain.pem import PemError, pem_text

_FINGERPRINT = 8
"""Hex digits of a SHA-256: enough to tell two values apart, and no help in guessing one."""

_LISTS = {"client_secrets": "secret", "scopes": "scope", "metascopes": "metascope"}
_PEM = {"private_key", "certificate"}
_GUESSABLE = {"private_key_passphrase"}
"""Fields whose values people choose: even a part of their hash would help to guess them."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that differs.

    Args:
        field: Its name.
        before: What is stored, in words; None if nothing is.
        after: What is to be stored, in words; None if nothing is.

    """

    field: str
    before: str | None
    after: str | None


def document_changes(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[FieldChange, ...]:
    """The fields that differ in meaning, by name. Other spellings of the same value are no difference."""
    names = [name for name in sorted({*before, *after}) if _value(name, before) != _value(name, after)]
    return tuple(FieldChange(name, _described(name, before), _described(name, after)) for name in names)


def _described(name: str, document: Mapping[str, object]) -> str | None:
    value = _value(name, document)
    if value is None:
        return None
    if name == "kind" and value in list(CredentialKind):
        return str(value)
    if name in _GUESSABLE:
        return "set"
    if name in _LISTS and isinstance(value, list):
        marks = [_fingerprint(item) for item in value] if name == "client_secrets" else [_fingerprint(value)]
        return f"{len(value)} {_LISTS[name]}{'' if len(value) == 1 else 's'}, sha256 {' '.join(marks)}"
    return f"sha256 {_fingerprint(value)}"


def _value(name: str, document: Mapping[str, object]) -> object:
    """The value of a field in one spelling; None if it is absent."""
    value = document.get(name)
    if name in _PEM and value is not None:
        try:
            return pem_text(value).strip()
        except PemError:
            return value
    if name in _LISTS and isinstance(value, str):
        value = SEPARATORS.split(value.strip())
    if name in {"scopes", "metascopes"} and isinstance(value, list):
        return sorted(map(str, value))
    return value


def _fingerprint(value: object) -> str:
    """The beginning of the SHA-256 of a value; for a certificate, of its DER, as openssl prints it."""
    content = value.encode(errors="replace") if isinstance(value, str) else json.dumps(value, sort_keys=True).encode()
    if isinstance(value, str) and value.startswith("-----BEGIN CERTIFICATE-----"):
        content = _der(value) or content
    return hashlib.sha256(content).hexdigest()[:_FINGERPRINT]


def _der(pem: str) -> bytes | None:
    lines = pem.partition("-----END")[0].splitlines()[1:]
    try:
        return base64.b64decode("".join(lines), validate=True)
    except (binascii.Error, ValueError):
        return None
