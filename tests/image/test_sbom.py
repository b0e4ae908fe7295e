"""The bill of materials as ``make sbom`` writes it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app import __version__
from tests.support.repository import ROOT


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    """The document, generated again."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    made = subprocess.run(["make", "sbom"], cwd=ROOT, env=outside, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    document: dict[str, Any] = json.loads((ROOT / "dist" / "sbom.cdx.json").read_text())
    return document


def locked() -> dict[str, str]:
    """Names and versions of what the image's lock files pin for this system."""
    text = "".join((ROOT / "requirements" / f"{name}.lock").read_text() for name in ("otel", "aws"))
    lines = [line.rstrip("\\ ") for line in text.splitlines()]
    requirements = [Requirement(line) for line in lines if line and not line.startswith((" ", "#"))]
    needed = [requirement for requirement in requirements if not requirement.marker or requirement.marker.evaluate()]
    return {canonicalize_name(requirement.name): str(requirement.specifier).lstrip("=") for requirement in needed}


def test_the_bill_names_what_the_image_carries(bill: dict[str, Any]) -> None:
    """Each package of the image's lock files is named with version, package URL and licence, and no other is."""
    found = {canonicalize_name(part["name"]): part for part in bill["components"]}

    assert {name: part["version"] for name, part in found.items()} == locked()
    assert {name: part["purl"] for name, part in found.items()} == {
        name: f"pkg:pypi/{name}@{version}" for name, version in locked().items()
    }
    # protobuf says it in a file of its archive, and in no field.
    assert {name for name, part in found.items() if not part.get("licenses")} <= {"protobuf"}


def test_the_bill_is_one_of_this_program(bill: dict[str, Any]) -> None:
    """It is CycloneDX 1.6, for this program in this version."""
    subject = bill["metadata"]["component"]

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert (subject["name"], subject["version"]) == ("ims-token-broker", __version__)
