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
    """There is a lock file each for the program, the program with tracing, tests, build and SBOM, and no other."""
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


def test_tests_run_what_is_shipped() -> None:
    """The tests' lock file pins the program's dependencies to the same versions as the program's own lock file."""
    runtime, dev = locked(LOCKS["runtime"]), locked(LOCKS["dev"])

    assert {name: _pins(dev[name]) for name in runtime} == {name: _pins(pinned) for name, pinned in runtime.items()}


def _pins(pinned: list[tuple[Requirement, bool]]) -> set[str]:
    return {f"{requirement.specifier}; {requirement.marker}" for requirement, _ in pinned}


@pytest.mark.parametrize("name", sorted(LOCKS))
def test_no_lock_file_names_a_registry(name: str) -> None:
    """The installer decides where packages come from: a lock file has no URL and no index option."""
    assert re.findall(r"://|--(?:extra-)?index-url|--find-links|--trusted-host|-i ", LOCKS[name]) == []
