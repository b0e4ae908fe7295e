"""The published schema of the audit log, for whatever a test finds in one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import jsonschema_rs

from tests.support.repository import ROOT

SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "audit.schema.json").read_text())


def kinds() -> dict[str, dict[str, Any]]:
    """The schema of each kind of event, by its name."""
    return {kind["properties"]["event"]["const"]: kind for kind in SCHEMA["oneOf"]}


def misfits(records: Iterable[Mapping[str, object]]) -> list[str]:
    """Records that are not as the schema says, each with what is wrong with it as its kind of event."""
    validators = {
        event: jsonschema_rs.validator_for({**kind, "$defs": SCHEMA["$defs"], "$schema": SCHEMA["$schema"]})
        for event, kind in kinds().items()
    }
    whole = jsonschema_rs.validator_for(SCHEMA)
    wrong = []
    for record in records:
        kind = validators.get(str(record.get("event")))
        if kind is None or not whole.is_valid(record):
            why = "unknown event" if kind is None else [error.message for error in kind.iter_errors(record)]
            wrong.append(f"{dict(record)}: {why}")
    return wrong
