"""A folder as Kubernetes mounts a ConfigMap or a Secret: links into a hidden folder that is swapped as a whole."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path


class MountedFolder:
    """The kubelet's way (its AtomicWriter): ``<name>`` → ``..data/<name>``, and ``..data`` → a folder per version.

    Args:
        path: The mount point; it is created.
        files: Contents of the files, by name.

    """

    def __init__(self, path: Path, files: Mapping[str, bytes | str]) -> None:
        self.path = path
        self._versions = itertools.count(1)
        path.mkdir()
        self.swap(files)
        for name in files:
            (path / name).symlink_to(Path("..data") / name)

    def swap(self, files: Mapping[str, bytes | str]) -> None:
        """Replace the contents of all files in one step, and remove the old ones."""
        folder = self.path / f"..2026_01_01_00_00_00.{next(self._versions)}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        data, draft = self.path / "..data", self.path / "..data_tmp"
        old = data.resolve() if data.is_symlink() else None
        draft.symlink_to(folder.name)
        draft.replace(data)
        if old is not None:
            for file in old.iterdir():
                file.unlink()
            old.rmdir()

    def __truediv__(self, name: str) -> Path:
        """The path of a file as a program gets it."""
        return self.path / name
