"""House rules for dependencies: every package is pinned with its hashes, and no registry is named."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.repository import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

LOCKS = {path.stem: path.read_text() for path in sorted((ROOT / "requirements").glob("*.lock"))}


NEEDED = {
    "runtime": PROJECT["project"]["dependencies"],
    "otel": PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["otel"],
    "aws": PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["aws"],
    "dev": PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"],
    "sbom": PROJECT["dependency-groups"]["sbom"],
    # hatchling requires editables for an editable install only.
    "build": [*PROJECT["build-system"]["requires"], "editables"],
}


def locked(lock: str) -> dict[str, list[tuple[Requirement, bool]]]:
    """What a lock file pins, by name, and whether it has a hash; a name may occur once per environment marker."""
    pins: dict[str, list[tuple[Requirement, bool]]] = {}
    lines = [
        line for line in lock.replace("\\\n", " ").splitlines() if line.strip() and not line.strip().startswith("#")
    ]
    for line in lines:
        requirement = Requirement(line.partition("--hash=")[0])
        hashed = re.search(r"--hash=sha256:[0-9a-f]{64}\b", line) is not None
        pins.setdefault(canonicalize_name(requirement.name), []).append((requirement, hashed))
    return pins


def test_every_kind_of_environment_has_a_lock_file() -> None:
    """There is a lock file each for the program, the program with each extra, tests, build and SBOM, and no other."""
    assert LOCKS.keys() == NEEDED.keys()


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_every_dependency_is_pinned_with_hashes(name: str) -> None:
    """A lock file pins one version of each package, with hashes, and the version is one that pyproject.toml accepts."""
    pins = locked(LOCKS[name])

    for pinned in pins.values():
        for requirement, hashed in pinned:
            assert [specifier.operator for specifier in requirement.specifier] == ["=="], requirement
            assert hashed, requirement
    for requirement in map(Requirement, NEEDED[name]):
        for pin, _ in pins[canonicalize_name(requirement.name)]:
            [specifier] = pin.specifier
            assert requirement.specifier.contains(Version(specifier.version), prereleases=True), requirement


@pytest.mark.parametrize("lock", ["runtime", "otel", "aws"])
def test_tests_run_what_is_shipped(lock: str) -> None:
    """The tests' lock file pins the program's dependencies, and those of its extras, as their own lock files do."""
    shipped, dev = locked(LOCKS[lock]), locked(LOCKS["dev"])

    assert {name: _pins(dev[name]) for name in shipped} == {name: _pins(pinned) for name, pinned in shipped.items()}


def test_the_extras_of_the_image_agree() -> None:
    """The image installs two lock files: what is in both is pinned to one version."""
    otel, aws = locked(LOCKS["otel"]), locked(LOCKS["aws"])

    assert {name: _pins(otel[name]) for name in otel.keys() & aws} == {
        name: _pins(aws[name]) for name in otel.keys() & aws
    }


def _pins(pinned: list[tuple[Requirement, bool]]) -> set[str]:
    return {f"{requirement.specifier}; {requirement.marker}" for requirement, _ in pinned}


@pytest.mark.parametrize("name", sorted(LOCKS))
def test_no_lock_file_names_a_registry(name: str) -> None:
    """The installer decides where packages come from: a lock file has no URL and no index option."""
    assert re.findall(r"://|--(?:extra-)?index-url|--find-links|--trusted-host|-i ", LOCKS[name]) == []
