"""A stand-in for the image that the Dockerfile begins with, if no registry can be reached: Debian and a CPython.

``python -m tests.support.base_image`` makes it if it is missing, in about a minute. Tests only look for it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.container_store import ContainerStore, ContainerToolError, need_container_tools
from tests.support.tools import ToolMissingError

NAME = "docker.io/library/python:3.12-slim"
"""What it is called: the name that the Dockerfile asks for."""

MINOR = "3.12"
RELEASE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "libbz2-1.0",
    "libexpat1",
    "libffi8",
    "liblzma5",
    "libreadline8",
    "libsqlite3-0",
    "libssl3",
    "libuuid1",
    "netbase",
    "tzdata",
    "zlib1g",
)
RECIPE = 2
"""Count it up when what is done below changes, so that an old base is not taken for a new one."""

BUILD_SECONDS = 900.0
_LEFT_OUT = ("test", "tests", "*.a", "__pycache__")
_MIRROR = re.compile(
    r"^(?:deb\s+(?:\[[^\]]*\]\s*)?|URIs:\s*)(?P<url>https?://\S+)(?P<rest>.*(?:\n\S.*)*)", re.MULTILINE
)
_WORKS = "import bz2, ctypes, hashlib, lzma, ssl, uuid, zlib"


def store() -> ContainerStore:
    """The folder of the base and of what is built on it; each recipe has its own."""
    recipe = repr((RECIPE, RELEASE, PACKAGES, NAME, MINOR))
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return ContainerStore(Path(base, "ims-token-broker", f"images-{digest}"))


def find() -> ContainerStore:
    """The store with the base.

    Raises:
        ToolMissingError: It is not there, or this machine cannot use it.

    """
    need_container_tools()
    found = store()
    if not found.has(NAME):
        raise ToolMissingError(
            "the image's base is missing; make it once (about a minute): python -m tests.support.base_image"
        )
    return found


def build() -> ContainerStore:
    """The store with the base, made now if it must be. Safe to call from several processes at once.

    Raises:
        ToolMissingError: Something that it takes is not there, or failed.

    """
    need_container_tools()
    made = store()
    with made.locked():
        if not made.has(NAME):
            _make(made)
    return made


def _make(made: ContainerStore) -> None:
    if shutil.which("debootstrap") is None:
        raise ToolMissingError("debootstrap is missing; install it (Debian: apt-get install debootstrap)")
    prefix = _cpython()
    made.choose_driver()
    with tempfile.TemporaryDirectory(prefix="base-image-", dir=made.folder) as scratch:
        root = Path(scratch, "root")
        _say(f"Debian {RELEASE}, from this machine's own mirror")
        _run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE, str(root), _mirror())
        _say(f"CPython {MINOR}")
        _install(prefix, root)
        _say("the image")
        _commit(made, root)
    _say(f"made {NAME} in {made.folder}")


def _cpython() -> Path:
    """The folder of a CPython of that version that lies in one folder of its own."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    programs = [*sorted(pyenv.glob(f"{MINOR}.*/bin/python{MINOR}")), Path(f"/usr/local/bin/python{MINOR}")]
    for program in programs:
        if program.exists():
            return program.parent.parent
    raise ToolMissingError(f"no Python {MINOR} in a folder of its own is here, neither of pyenv nor in /usr/local")


def _mirror() -> str:
    """The first address of this machine's package sources that has the release."""
    apt = Path("/etc/apt")
    for path in [apt / "sources.list", *sorted(apt.glob("sources.list.d/*"))]:
        for url in _mirrors(path.read_text()) if path.is_file() else ():
            return url
    raise ToolMissingError(f"the package sources of this machine have no Debian {RELEASE}")


def _mirrors(text: str) -> Iterator[str]:
    for match in _MIRROR.finditer(text):
        if RELEASE in match["rest"].split():
            yield match["url"]


def _install(prefix: Path, root: Path) -> None:
    local = root / "usr" / "local"
    for name in ("bin", "lib", "include"):
        shutil.copytree(
            prefix / name, local / name, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_LEFT_OUT)
        )
    for script in (local / "bin").glob("pip*"):
        script.write_text(re.sub(r"\A#!.*", f"#!/usr/local/bin/python{MINOR}", script.read_text()))
    for name in ("python", "python3"):
        link = local / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(f"python{MINOR}")
    _run("chroot", str(root), "/sbin/ldconfig")
    _run("chroot", str(root), f"/usr/local/bin/python{MINOR}", "-c", _WORKS)


def _commit(made: ContainerStore, root: Path) -> None:
    archive = root.with_suffix(".tar")
    _run(
        "tar",
        "--create",
        "--file",
        str(archive),
        "--directory",
        str(root),
        "--exclude=./var/cache/apt/archives/*.deb",
        ".",
    )
    shutil.rmtree(root)
    try:
        container = made.buildah("from", "scratch").strip()
        made.buildah("add", "--quiet", container, str(archive), "/", within=BUILD_SECONDS)
        made.buildah("config", "--env", "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        made.buildah("commit", "--quiet", "--rm", container, NAME, within=BUILD_SECONDS)
    except ContainerToolError as error:
        raise ToolMissingError(str(error)) from None


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode != 0:
        raise ToolMissingError(f"{command[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Make the image that the Dockerfile begins with, if it is missing."""
    argparse.ArgumentParser(prog="python -m tests.support.base_image", description=main.__doc__).parse_args()
    try:
        print(build().folder, flush=True)
    except ToolMissingError as missing:
        _say(str(missing))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
