"""Real programs that the tests need, built once from Go modules and kept outside the checkout.

``python -m tests.support.tools vault`` builds a tool if it is missing and prints its path. Tests only look for it:
a test that silently compiles for ten minutes would look hung.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

_MODULES = Path(__file__).resolve().parent.parent / "tools"
_BUILD_DEADLINE = 3600.0
_VERSION_DEADLINE = 20.0
_VERSION = re.compile(r"v(\d+)\.(\d+)")


class ToolMissingError(Exception):
    """A tool is neither installed nor built; the text says what to do."""


@dataclass(frozen=True)
class GoTool:
    """A program from a Go module below ``tests/tools``.

    Args:
        name: Name of the folder there, and of the binary.
        package: The Go package to build.
        minutes: About how long that takes on two cores.
        installed: Programs on PATH that do as well, with the lowest (major, minor) version that fits.
        ldflags: Flags of the Go linker.
        tells_version: The argument by which an installed program prints its version.

    """

    name: str
    package: str
    minutes: int
    installed: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    ldflags: str = "-s -w"
    tells_version: str = "version"

    @property
    def module(self) -> Path:
        """The folder with ``go.mod`` and ``go.sum``."""
        return _MODULES / self.name

    @property
    def built(self) -> Path:
        """The path of the built binary; each ``go.sum`` has its own."""
        digest = hashlib.sha256((self.module / "go.sum").read_bytes()).hexdigest()[:16]
        return _cache() / f"{self.name}-{digest}" / self.name


TOOLS = {
    tool.name: tool
    for tool in [
        GoTool("vault", "github.com/hashicorp/vault", minutes=10, installed={"vault": (1, 15), "bao": (2, 2)}),
        GoTool("helm", "helm.sh/helm/v4/cmd/helm", minutes=4, installed={"helm": (4, 0)}),
        GoTool(
            "kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-apiserver",
            minutes=9,
            installed={"kube-apiserver": (1, 30)},
            # It says which Kubernetes it is; the version it was built as decides what it serves.
            ldflags="-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2",
            tells_version="--version",
        ),
    ]
}


def find(name: str) -> Path:
    """The binary of a tool: one on PATH whose version fits, else the one built before.

    Raises:
        ToolMissingError: There is neither.

    """
    tool = TOOLS[name]
    for program, lowest in tool.installed.items():
        path = shutil.which(program)
        if path is not None and _version(path, tool.tells_version) >= lowest:
            return Path(path)
    if tool.built.is_file():
        return tool.built
    raise ToolMissingError(
        f"{name} is missing; with Go installed, build it once (about {tool.minutes} minutes): "
        f"python -m tests.support.tools {name}"
    )


def build(name: str) -> Path:
    """The binary of a tool, built now if it must be. Safe to call from several processes at once.

    Raises:
        ToolMissingError: There is no Go, or the build failed.

    """
    try:
        return find(name)
    except ToolMissingError:
        pass
    tool = TOOLS[name]
    tool.built.parent.mkdir(parents=True, exist_ok=True)
    with (tool.built.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tool.built.is_file():
            _compile(tool)
    return tool.built


def require(name: str) -> Path:
    """The binary of a tool for a test: skips the test if it is missing, and fails it in CI."""
    try:
        return find(name)
    except ToolMissingError as missing:
        skip_or_fail(str(missing))


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test because a real part is missing; fail it if the environment has ``CI=true``."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _compile(tool: GoTool) -> None:
    go = shutil.which("go")
    if go is None:
        raise ToolMissingError(f"{tool.name} is missing, and so is Go, which would build it")
    _say(f"building {tool.package}: about {tool.minutes} minutes, once")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -modcacherw", "GOTOOLCHAIN": "local"}
    with tempfile.TemporaryDirectory(dir=tool.built.parent) as folder:
        output = Path(folder, tool.name)
        command = [go, "build", f"-ldflags={tool.ldflags}", "-o", str(output), tool.package]
        result = subprocess.run(command, cwd=tool.module, env=environment, timeout=_BUILD_DEADLINE, check=False)
        if result.returncode != 0:
            raise ToolMissingError(f"building {tool.name} failed; what Go says is above")
        output.replace(tool.built)
    _say(f"built {tool.built}")


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "ims-token-broker", "tools")


def _version(program: str, argument: str) -> tuple[int, int]:
    try:
        shown = subprocess.run(
            [program, argument], capture_output=True, text=True, timeout=_VERSION_DEADLINE, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = _VERSION.search(shown)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Build the tools named on the command line, all of them if none is named, and print their paths."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.tools", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="tool", help=f"one of: {', '.join(TOOLS)}")
    names = parser.parse_args().names or list(TOOLS)
    unknown = [name for name in names if name not in TOOLS]
    if unknown:
        parser.error(f"no such tool: {', '.join(unknown)}")
    try:
        for name in names:
            print(build(name), flush=True)
    except ToolMissingError as missing:
        _say(str(missing))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
