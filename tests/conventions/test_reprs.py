"""No dataclass shows a secret in its repr: an instance of each is filled with marks, and the marks are looked for."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import app

MARK = "cAnArY"
SECRET = re.compile(
    r"secret|passw|passphrase|private|assertion|authorization|jwt|proof|pem|content|plain|answer|form|signature"
    r"|(^|_)(value|key|keys|token|tokens|body|document|credential|api_key)$"
)
"""Names of fields that may have a secret."""

SHOWN = {
    "app.adapters.jwt_verifier.key_set.VerifyingKey.key": "a public key",
    "app.audit.trace.Receiver.credential": "the name of a credential",
    "app.cli.secret_rotate.Options.credential": "the name of a credential",
    "app.cli.status_rows.StatusRow.credential": "the name of a credential",
    "app.domain.certificate_check.CertificateFacts.signature_hash": "the name of an algorithm",
    "app.domain.decision.Decision.credential": "the name of a credential",
    "app.domain.events.process_events.KeyRingLoaded.keys": "the ids of keys",
    "app.domain.import_options.ImportOptions.transit_key": "the name of a key",
    "app.domain.policy_comparison.RightsChange.credential": "the name of a credential",
    "app.domain.policy_explanation.Entitlement.credential": "the name of a credential",
    "app.domain.policy_usage.Use.api_key": "the first digits of a digest",
    "app.domain.policy_usage.Use.credential": "the name of a credential",
    "app.domain.secret_rotation_state.ConsoleIds.credential": "Adobe's id of a credential",
    "app.service.mint._Rejection.document": "the version of a document",
}
"""Fields with such a name that have none, and what they have."""


def classes() -> Iterator[type]:
    """All dataclasses of the application, except those of its sandbox, which has no secrets of anyone."""
    for module in pkgutil.walk_packages(app.__path__, "app."):
        if module.name.endswith("__main__") or module.name.startswith("app.sandbox"):
            continue
        for found in vars(importlib.import_module(module.name)).values():
            if not isinstance(found, type) or inspect.isabstract(found):
                continue
            if dataclasses.is_dataclass(found) and found.__module__ == module.name:
                yield found


def marked(kind: Any, name: str) -> object:
    """A value of about this type, with a mark in each text."""
    if typing.get_origin(kind) in (tuple, list, frozenset) and typing.get_args(kind):
        return tuple(marked(part, name) for part in typing.get_args(kind) if part is not ...)
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return marked(typing.get_args(kind)[0], name)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and not inspect.isabstract(kind):
        return instance(kind)
    return f"{MARK}<{name}>" if kind in (str, bytes, object, Any) or hasattr(kind, "__supertype__") else None


def instance(kind: type) -> object:
    """An instance whose fields are marked, made without its checks."""
    made: Any = object.__new__(kind)
    try:
        hints = typing.get_type_hints(kind)
    except NameError:  # a type that is imported for the type checker alone
        hints = {}
    for field in dataclasses.fields(kind):
        name = f"{kind.__module__}.{kind.__qualname__}.{field.name}"
        kind_of_field = hints.get(field.name, str if re.search(r"str|bytes", str(field.type)) else None)
        object.__setattr__(made, field.name, marked(kind_of_field, name))
    return made


def test_no_repr_shows_a_secret() -> None:
    """A field that may have a secret is not in the repr of its class, nor in that of a class around it."""
    found = {name for kind in classes() for name in re.findall(rf"{MARK}<([\w.]+)>", repr(instance(kind)))}
    assert len(found) > 200, "the marks must be found, or their absence proves nothing"
    assert {name for name in found if SECRET.search(name.rpartition(".")[2])} == SHOWN.keys()
