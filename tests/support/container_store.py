"""The store of the images that tests use, separate from the machine's own, and its tools."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.tools import ToolMissingError

PROGRAMS = ("buildah", "podman", "runc")
ANSWER_SECONDS = 60.0
"""How long a tool may take for anything but a build; generous, for a loaded machine."""

_DRIVERS = ("overlay", "vfs")
"""How layers are kept: at best without copying; the second copies all files for each container, but works anywhere."""

_PODMAN = ("--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "runc")


class ContainerToolError(Exception):
    """A tool refused; the text is what it said."""


@dataclass(frozen=True)
class ContainerStore:
    """A folder with images and containers.

    Args:
        folder: Where it lies; made if it is missing.

    """

    folder: Path

    def buildah(self, *arguments: str, within: float = ANSWER_SECONDS) -> str:
        """Run buildah; its standard output.

        Raises:
            ContainerToolError: It failed.

        """
        return self._told(self.buildah_command(*arguments), within)

    def podman(self, *arguments: str, within: float = ANSWER_SECONDS) -> str:
        """Run podman; its standard output.

        Raises:
            ContainerToolError: It failed.

        """
        return self._told(self.podman_command(*arguments), within)

    def buildah_command(self, *arguments: str) -> list[str]:
        """A command line of buildah on this store."""
        return ["buildah", *self._options(), *arguments]

    def podman_command(self, *arguments: str) -> list[str]:
        """A command line of podman on this store."""
        return ["podman", *self._options(), *_PODMAN, *arguments]

    def has(self, image: str) -> bool:
        """Whether there is an image of that name."""
        return any(image in (entry.get("names") or []) for entry in self.images())

    def images(self) -> list[dict[str, Any]]:
        """All images, as buildah lists them."""
        if not self._driver_file.is_file():
            return []
        entries: list[dict[str, Any]] = json.loads(self.buildah("images", "--json") or "[]") or []
        return entries

    def inspect(self, image: str) -> dict[str, Any]:
        """An image's configuration, in Docker's words."""
        described = json.loads(self.buildah("inspect", "--type", "image", image))
        config: dict[str, Any] = described["Docker"]["config"]
        return config

    def choose_driver(self) -> None:
        """Find out how layers can be kept here, and remember it.

        Raises:
            ContainerToolError: No way works.

        """
        for driver in _DRIVERS:
            self._driver_file.write_text(driver)
            try:
                self.buildah("images")
            except ContainerToolError:
                if driver == _DRIVERS[-1]:
                    raise
                continue
            return

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock among all processes that build in this store."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def _driver_file(self) -> Path:
        return self.folder / "driver"

    @property
    def _state(self) -> Path:
        """What need not outlive a boot; podman takes no path of more than 50 characters."""
        return Path("/run", f"ims-token-broker-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]}")

    def _options(self) -> tuple[str, ...]:
        return (
            *("--root", str(self.folder / "storage")),
            *("--runroot", str(self._state)),
            *("--storage-driver", self._driver_file.read_text()),
        )

    def _told(self, command: list[str], within: float) -> str:
        # Into files: a container that is left running keeps the pipe of the command that started it open.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=within, check=False
            ).returncode
            out.seek(0)
            err.seek(0)
            said, complained = out.read(), err.read()
        if code != 0:
            raise ContainerToolError(f"{command[0]} ended with {code}:\n{said[-3000:]}\n{complained[-6000:]}")
        return said


def need_container_tools() -> None:
    """See whether this machine can build and run images.

    Raises:
        ToolMissingError: It cannot; the text says why.

    """
    if os.name != "posix" or os.geteuid() != 0:
        raise ToolMissingError("building and running the image needs root, for the containers' file systems")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise ToolMissingError(
            f"{' and '.join(missing)} missing; install them (Debian: apt-get install {' '.join(PROGRAMS)})"
        )
