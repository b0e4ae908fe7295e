"""Completes the schema of the chart's values: ``python -m tests.support.chart_schema``.

A value that is in ``values.yaml`` but not in ``values.schema.json`` is added with the type of its default. A plain
setting also gets the constraints that the code has. What is there already is kept, so that a tighter pattern, written
by hand, stays. A value that is no longer in ``values.yaml`` is removed.
"""

from __future__ import annotations

import json
from typing import Any

from app.settings.setting_errors import PREFIX
from app.settings.settings import Settings
from tests.support.chart import CHART, default_values, schema
from tests.support.chart_settings import plain_settings

SCHEMA = CHART / "values.schema.json"

_NAME = "^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$"
_KNOWN: dict[str, dict[str, Any]] = {
    "existingSecret": {"type": "string", "pattern": _NAME},
    "existingConfigMap": {"type": "string", "pattern": _NAME},
    "key": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,253}$"},
}
"""Values that are the same wherever they stand: the name of a Kubernetes object, and a key in it."""

_TYPES = {bool: "boolean", int: "integer", str: "string", list: "array"}
_CONSTRAINTS = ("enum", "pattern", "minimum", "maximum")

_OPEN = {"global"}
"""Values that parent charts may add to."""

Node = dict[str, Any]


def is_kubernetes_map(path: str) -> bool:
    """Whether a value is a map of Kubernetes' API. ``values.yaml`` then sets only some of its keys."""
    return path in {"strategy", "strategy.rollingUpdate", "resources"} or path.endswith("Probe")


def completed() -> str:
    """The text of the schema with exactly the values of ``values.yaml``."""
    code = Settings.model_json_schema()["properties"]
    fields = {row.path: code[variable.removeprefix(PREFIX).lower()] for variable, row in plain_settings().items()}
    whole = schema()
    _complete(whole, default_values(), "", fields)
    return json.dumps(whole, indent=2) + "\n"


def _complete(node: Node, values: Node, path: str, fields: dict[str, Node]) -> None:
    """Give a node of named values exactly the children of `values`, in their order."""
    if path in _OPEN or is_kubernetes_map(path):
        return
    known = node["properties"]
    for key, value in values.items():
        child = f"{path}.{key}" if path else key
        if key not in known:
            known[key] = _inferred(key, value, fields.get(child, {}))
        if isinstance(value, dict) and "properties" in known[key]:
            _complete(known[key], value, child, fields)
    node["properties"] = {key: known[key] for key in values}


def _inferred(key: str, default: object, field: Node) -> Node:
    if key in _KNOWN:
        return dict(_KNOWN[key])
    if isinstance(default, dict):
        return {"type": "object", "additionalProperties": False, "properties": {}}
    node: Node = {"type": _TYPES[type(default)]}
    if isinstance(default, list):
        return {**node, "items": {"type": "string"}}
    for option in (field, *field.get("anyOf", ())):
        node.update({name: option[name] for name in _CONSTRAINTS if name in option})
    if default == "" and "pattern" in node:
        node["pattern"] = f"^({node['pattern'].removeprefix('^').removesuffix('$')})?$"
    return node


if __name__ == "__main__":
    SCHEMA.write_text(completed())
    print(f"Wrote {SCHEMA.name}")
