"""The real ``helm`` binary, and what a cluster must have for the chart's custom resources."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.chart import CHART, NAMESPACE, RELEASE
from tests.support.chart_checks import CUSTOM
from tests.support.children import wait_until
from tests.support.kube_api import KubeApi
from tests.support.tools import require

_SECONDS = 60.0

PLURALS = {
    "ServiceMonitor": "servicemonitors",
    "PrometheusRule": "prometheusrules",
    "Certificate": "certificates",
    "HTTPRoute": "httproutes",
}


class HelmError(Exception):
    """``helm`` ended in error; the text is what it said."""


class Helm:
    """Runs ``helm`` with files of its own.

    Args:
        home: Where it keeps what it keeps.
        kubeconfig: Which cluster; default: one that cannot be.

    """

    def __init__(self, home: Path, kubeconfig: Path | None = None) -> None:
        self._binary = require("helm")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "KUBECONFIG": str(kubeconfig or home / "no-such-file"),
        }

    def run(self, *arguments: str | Path) -> str:
        """What it prints; raises `HelmError`."""
        command = [str(self._binary), *map(str, arguments)]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.returncode != 0:
            raise HelmError(done.stderr.strip())
        return done.stdout

    def template(self, *values: Path, name: str = RELEASE, namespace: str = NAMESPACE) -> str:
        """The chart's manifests."""
        return self.run("template", name, CHART, "--namespace", namespace, *_files(values))

    def change(self, verb: str, name: str, namespace: str, values: Path, *more: str) -> str:
        """``install`` or ``upgrade``; without hooks, since nothing would run their jobs."""
        return self.run(verb, name, CHART, "--namespace", namespace, "--no-hooks", *_files([values]), *more)


def _files(values: Sequence[Path]) -> list[str]:
    return [argument for path in values for argument in ("--values", str(path))]


def install_custom_resources(api: KubeApi) -> None:
    """Make the API server take the custom resources of the chart, by small definitions made from our schemas."""
    documents = [
        _definition(version, kind, PLURALS[kind], _structural(schema["properties"]["spec"]))
        for kind, (version, schema) in sorted(_schemas().items())
    ]
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = "secrets-store.csi.x-k8s.io/v1"
    documents.append(_definition(version, "SecretProviderClass", "secretproviderclasses", anything))
    api.apply(*documents)
    for document in documents:
        spec = document["spec"]
        path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        wait_until(partial(_is_served, api, path), f"{path} is not served", _SECONDS)


def _is_served(api: KubeApi, path: str) -> bool:
    return api.request("GET", path).status == 200


def _schemas() -> dict[str, tuple[str, dict[str, Any]]]:
    return {
        kind: (validator.schema["properties"]["apiVersion"]["const"], validator.schema)
        for kind, validator in CUSTOM.items()
    }


def _definition(version: str, kind: str, plural: str, spec: dict[str, Any]) -> dict[str, Any]:
    group, _, served = version.partition("/")
    metadata: dict[str, Any] = {"name": f"{plural}.{group}"}
    if group == "gateway.networking.k8s.io":
        # The API server guards groups below k8s.io.
        metadata["annotations"] = {"api-approved.kubernetes.io": "unapproved, a small one for tests"}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [{"name": served, "served": True, "storage": True, "schema": schema}],
        },
    }


def _structural(node: dict[str, Any]) -> dict[str, Any]:
    """A schema as the API server wants it: a type everywhere, and closed to all other fields."""
    made: dict[str, Any] = json.loads(json.dumps(node))
    if "enum" in made:
        made["type"] = "string"
    if made.get("additionalProperties") is False:
        del made["additionalProperties"]
    if "properties" in made:
        made["properties"] = {name: _structural(child) for name, child in made["properties"].items()}
    elif made.get("type") == "object" and "additionalProperties" not in made:
        made.pop("required", None)
        made["x-kubernetes-preserve-unknown-fields"] = True
    if "items" in made:
        made["items"] = _structural(made["items"])
    return made
