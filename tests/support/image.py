"""The image as the Dockerfile makes it, and containers of it that run as Kubernetes' restricted profile has them run.

Another suite takes the fixture ``image`` (``tests/image/conftest.py`` makes it with `built_image`) and does::

    with image.run("serve", settings={"POLICY_FILE": "/policy.yaml"}, mounts=[Mount(path, "/policy.yaml")]) as broker:
        broker.said(r"listening on")
"""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import __version__
from tests.support import base_image
from tests.support.children import wait_until
from tests.support.container_store import ANSWER_SECONDS, ContainerStore, ContainerToolError
from tests.support.repository import ROOT
from tests.support.tools import ToolMissingError, skip_or_fail

CONTEXT = (
    ".dockerignore",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "app",
    "deploy/image",
    "pyproject.toml",
    "requirements/build.lock",
    "requirements/otel.lock",
    "requirements/aws.lock",
)
"""The inputs of the build; the image is built again if one of them changes."""

USER = 65532
STOP_SECONDS = 30
"""How long a container may take to end; Kubernetes' default grace period."""

BUILD_ARGUMENTS = {
    "VERSION": __version__,
    "REVISION": "0123456789abcdef0123456789abcdef01234567",
    "CREATED": "2026-01-02T03:04:05Z",
    "SOURCE_DATE_EPOCH": "1767323045",
    "SOURCE": "https://example.com/ims-token-broker",
}
TMPFS = "/tmp:rw,noexec,nosuid,nodev,size=16m,mode=1777"
_BUILD_SECONDS = 900.0
_KEPT_SECONDS = 24 * 3600.0
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy")
_RESTRICTED = (
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
    # Not more than those of the machine, which may refuse podman's own default.
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"),
    *("--network", "host", "--log-driver", "k8s-file", "--memory", "256m"),
)


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine inside a container. The container's user must be allowed to read it.

    Args:
        source: Its path on this machine.
        target: Its path in the container.
        writable: Whether the container may write to it.

    """

    source: Path
    target: str
    writable: bool = False


class Container:
    """A container of the image.

    Args:
        store: The podman store that holds it.
        name: Its id.

    """

    def __init__(self, store: ContainerStore, name: str) -> None:
        self.name = name
        self._store = store

    @property
    def output(self) -> str:
        """Its standard output and standard error so far."""
        # podman gives each back on its own stream.
        done = subprocess.run(
            self._store.podman_command("logs", self.name),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=ANSWER_SECONDS,
            check=True,
        )
        return done.stdout

    @property
    def state(self) -> dict[str, Any]:
        """Its state according to podman: ``Running``, ``ExitCode``, ``Pid`` and more."""
        [found] = json.loads(self._store.podman("inspect", "--type", "container", self.name))
        state: dict[str, Any] = found["State"]
        return state

    def said(self, pattern: str) -> re.Match[str]:
        """Wait for the first line of its output that matches."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            output = self.output
            match = re.search(pattern, output, re.MULTILINE)
            assert match or self.state["Running"], f"it ended:\n{output}"
            found.extend([match] if match else [])
            return bool(found)

        wait_until(look, f"the container does not say {pattern!r}", ANSWER_SECONDS)
        return found[0]

    def status(self) -> dict[str, str]:
        """``/proc/<pid>/status`` of its process, as the machine's kernel has it."""
        lines = Path("/proc", str(self.state["Pid"]), "status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command next to its process."""
        return subprocess.run(
            self._store.podman_command("exec", self.name, *command),
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )

    def send(self, signal: str) -> None:
        """Send its process a signal, such as ``STOP``."""
        self._store.podman("kill", "--signal", signal, self.name)

    def changed(self) -> set[str]:
        """Files and folders that differ from the image, without the mounts of the runtime."""
        lines = self._store.podman("diff", self.name).splitlines()
        return {line.split(" ", 1)[1] for line in lines}

    def stop(self) -> int:
        """Stop it as a runtime does: its stop signal, then a grace period, then ``SIGKILL``; the exit code."""
        self._store.podman("stop", "--time", str(STOP_SECONDS), self.name, within=STOP_SECONDS + ANSWER_SECONDS)
        return int(self.state["ExitCode"])

    def ended(self) -> int:
        """Wait until it has ended by itself; the exit code."""
        return int(self._store.podman("wait", self.name))

    def remove(self) -> None:
        """Kill and remove it."""
        self._store.podman("rm", "--force", "--time", "0", self.name)


@dataclass(frozen=True)
class Image:
    """The built image.

    Args:
        store: The podman store that holds it.
        name: Its name in the store.

    """

    store: ContainerStore
    name: str

    @property
    def config(self) -> dict[str, Any]:
        """``User``, ``Entrypoint``, ``Labels`` and so on, in Docker's words."""
        return self.store.inspect(self.name)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        [found] = json.loads(self.store.podman("inspect", "--type", "image", self.name))
        return int(found["Size"])

    @contextlib.contextmanager
    def run(
        self,
        *command: str,
        settings: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        mounts: Sequence[Mount] = (),
        user: int | None = None,
        entrypoint: str | None = None,
        is_writable: bool = False,
    ) -> Iterator[Container]:
        """A container with no capability, no new privileges, a root folder that is read-only, and a small /tmp.

        Args:
            command: Arguments of the entry point.
            settings: ``BROKER_`` variables, without the prefix. It listens on loopback by default.
            env: Other variables.
            mounts: Files and folders of this machine.
            user: Another uid than the image's.
            entrypoint: Another program than the image's.
            is_writable: Let it write to its root folder, to see whether it does.

        """
        variables = {f"BROKER_{name}": value for name, value in {"HOST": "127.0.0.1", **(settings or {})}.items()}
        options = [f"--env={name}={value}" for name, value in (variables | dict(env or {})).items()]
        for mount in mounts:
            options += ["--volume", f"{mount.source}:{mount.target}:{'rw' if mount.writable else 'ro'}"]
        options += [] if is_writable else ["--read-only", "--read-only-tmpfs=false"]
        options += [] if user is None else ["--user", str(user)]
        options += [] if entrypoint is None else ["--entrypoint", json.dumps([entrypoint])]
        started = self.store.podman("run", "--detach", *_RESTRICTED, "--tmpfs", TMPFS, *options, self.name, *command)
        container = Container(self.store, started.split()[-1])
        try:
            yield container
        finally:
            container.remove()

    def python(self, code: str) -> str:
        """What the image's interpreter prints when it runs a program."""
        with self.run("-c", code, entrypoint="python") as container:
            code_ = container.ended()
            output = container.output
        assert code_ == 0, output
        return output


def built_image() -> Image:
    """The image of this checkout, built now if any part of it changed; skips the test if it cannot be built."""
    try:
        store = base_image.find()
    except ToolMissingError as missing:
        skip_or_fail(str(missing))
    image = Image(store, f"localhost/ims-token-broker:{_digest(store)}")
    with store.locked():
        if not store.has(image.name):
            _forget_old(store)
            _build(image)
    return image


def _build(image: Image) -> None:
    begun = time.monotonic()
    arguments = [f"{name}={value}" for name, value in BUILD_ARGUMENTS.items()]
    with tempfile.NamedTemporaryFile("w", prefix="pip-", suffix=".conf") as pip:
        pip.write(_pip_configuration())
        pip.flush()
        trust = ["--volume", f"{_CA_BUNDLE}:{_CA_BUNDLE}:ro"] if _CA_BUNDLE.exists() else []
        tool = image.store.buildah_command(
            *("bud", "--isolation", "chroot", "--pull-never", "--format", "docker"),
            *(*trust, "--volume", f"{pip.name}:/etc/pip.conf:ro"),
        )
        command = ["make", "image", f"IMAGE={image.name}", f"BUILD={' '.join(tool)}", *arguments]
        # As if typed by a person: what an outer make says to its children is not for this one.
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        done = subprocess.run(
            command, cwd=ROOT, env=outside, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
        )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    print(f"image: {image.size / 1e6:.0f} MB, built in {time.monotonic() - begun:.0f} s", file=sys.stderr)


def _pip_configuration() -> str:
    """The package index that pip uses on this machine; a container does not read this machine's files."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    configuration = configparser.RawConfigParser()
    configuration.add_section("global")
    if _CA_BUNDLE.exists():
        configuration.set("global", "cert", str(_CA_BUNDLE))
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in _PIP_OPTIONS:
            configuration.set("global", name, value.strip("'\""))
    with tempfile.TemporaryFile("w+") as file:
        configuration.write(file)
        file.seek(0)
        return file.read()


def _forget_old(store: ContainerStore) -> None:
    """Remove images of checkouts that were built more than a day ago: each is a whole copy of its files."""
    for entry in store.images():
        names = entry.get("names") or []
        is_old = time.time() - entry["created"] > _KEPT_SECONDS
        if base_image.NAME not in names and (is_old or not names):
            with contextlib.suppress(ContainerToolError):  # in use
                store.buildah("rmi", "--force", entry["id"])


def _digest(store: ContainerStore) -> str:
    """Names the image for what it is made of, its base and the test's build arguments included."""
    digest = hashlib.sha256(repr((store.folder.name, BUILD_ARGUMENTS)).encode())
    for name in CONTEXT:
        path = ROOT / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_mode & 0o111}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]
