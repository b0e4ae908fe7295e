"""The Helm chart: its files, and rendering it in this process by Helm's own engine.

The engine neither notices output that is not YAML nor knows a cluster, so everything is parsed here, and no rendering
may depend on what a cluster has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

from tests.support.repository import ROOT
from tests.support.tools import skip_or_fail

CHART = ROOT / "deploy" / "helm" / "ims-token-broker"
RELEASE, NAMESPACE = "rel", "ns"

Manifest = dict[str, Any]
Values = Mapping[str, Any]


class ChartRefusedError(Exception):
    """The chart refuses the values; the text is what a person reads."""


class _StrictLoader(yaml.CSafeLoader):
    """YAML in which a key twice in one map is an error, as the API server's strict decoding has it."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The map, if each key is there once."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"keys twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def default_values() -> dict[str, Any]:
    """``values.yaml``, fresh."""
    values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return values


def schema() -> dict[str, Any]:
    """``values.schema.json``."""
    loaded: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return loaded


def ci_files() -> list[Path]:
    """The files of values in chart-testing's layout."""
    return sorted((CHART / "ci").glob("*-values.yaml"))


def ci_values(name: str) -> dict[str, Any]:
    """The values of one of them, fresh; `name` without ``-values.yaml``."""
    values: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text())
    return values


def render_texts(values: Values, name: str = RELEASE, namespace: str = NAMESPACE) -> dict[str, str]:
    """What each template of the chart becomes, by the template's path below the chart.

    Raises:
        ChartRefusedError: The schema or a template refuses the values.

    """
    try:
        import helm_python
    except ImportError:
        skip_or_fail("helm-python-sdk is missing; there is a wheel for Linux on x86-64 only")
    try:
        texts = _engine_chart().render(dict(values), name=name, namespace=namespace)
    except helm_python.HelmError as error:
        raise ChartRefusedError(str(error).strip()) from None
    return {path.partition("/")[2]: text for path, text in texts.items()}


def render(values: Values, name: str = RELEASE, namespace: str = NAMESPACE) -> list[Manifest]:
    """All objects that the chart makes, hooks and tests too, in the order of their templates' paths.

    Raises:
        ChartRefusedError: The schema or a template refuses the values.
        yaml.YAMLError: The output is not YAML, or has a key twice.

    """
    texts = render_texts(values, name, namespace)
    return [
        found for path, text in sorted(texts.items()) if not path.endswith("NOTES.txt") for found in manifests_of(text)
    ]


def notes(values: Values) -> str:
    """What is printed after an install."""
    return render_texts(values)["templates/NOTES.txt"]


def manifests_of(text: str) -> Iterator[Manifest]:
    """The objects of a YAML text."""
    for document in yaml.load_all(text, Loader=_StrictLoader):
        if document is not None:
            yield document


def the(manifests: list[Manifest], kind: str, suffix: str = "") -> Manifest:
    """The one object of that kind whose name ends so."""
    found = [one for one in manifests if one["kind"] == kind and one["metadata"]["name"].endswith(suffix)]
    assert len(found) == 1, f"{len(found)} objects of kind {kind} with a name that ends in {suffix!r}"
    return found[0]


def kinds(manifests: list[Manifest]) -> set[str]:
    """The kinds there are."""
    return {manifest["kind"] for manifest in manifests}


def with_value(values: Values, path: str, value: object) -> dict[str, Any]:
    """A copy of `values` in which the value at the dotted `path` is another."""
    copy: dict[str, Any] = json.loads(json.dumps(values))
    place = copy
    *parents, last = path.split(".")
    for parent in parents:
        if not isinstance(place.get(parent), dict):
            place[parent] = {}
        place = place[parent]
    place[last] = value
    return copy


def value_at(values: Values, path: str) -> Any:
    """The value at the dotted `path`; raises `KeyError` if there is none."""
    place: Any = values
    for part in path.split("."):
        place = place[part]
    return place


@cache
def _engine_chart() -> Any:
    import helm_python

    return helm_python.Chart.load(str(CHART))
