"""Builds the root file system of the image: only what the broker needs at run time.

Runs in the Dockerfile's second stage, with the interpreter that it copies and only its standard library. Shared
libraries are found by asking the loader (``ldd``), their packages by asking ``dpkg``: no release of Debian is named.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

UNUSED = (
    "config-*",
    "curses",
    "dbm",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",  # pip; the broker's packages are in its own environment
    "sqlite3",
    "test",
    "tests",
    "tkinter",
    "turtle*",
    "venv",
    "_test*",
    "_ctypes_test*",
    "_curses*",
    "_dbm*",
    "_gdbm*",
    "_sqlite3*",
    "_tkinter*",
    "_crypt*",
    "nis*",
    "ossaudiodev*",
    "_xx*",
    "readline*",
    "xx*",
    "*.a",
    "*.exe",
    "__pycache__",
)
"""Modules of the standard library that a server does not need. Some of them need shared libraries: readline, Tk."""

SDK_DATA = ("kms", "sts", "sso", "sso-oidc", "signin")
"""The descriptions of AWS services that the AWS SDK keeps: the signer's, and those of logins. All 400 take 25 MB."""

SCRIPTS = ("python", "python3", f"python{sys.version_info.major}.{sys.version_info.minor}", "ims-token-broker")
"""Files of the environment's ``bin`` to keep: not the scripts of its libraries, nor those for a shell."""

LOADED_BY_NAME = ("libgcc_s.so.1",)
"""Opened by glibc when a thread is cancelled: no file links to it, and without it the process aborts."""

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
CA_PACKAGE = Path("/usr/sbin/update-ca-certificates")
"""A file of the bundle's package; the bundle itself is generated at installation."""

OPENSSL_CONFIG = (Path("/etc/ssl/openssl.cnf"), Path("/usr/lib/ssl/openssl.cnf"))
"""The file, and the link to it at the path where Debian's OpenSSL looks."""

FILES = {
    # No user name is needed; these two are for tools that look one up.
    "etc/passwd": "root:x:0:0:root:/:/nonexistent\nbroker:x:65532:65532:ims-token-broker:/nonexistent:/nonexistent\n",
    "etc/group": "root:x:0:\nbroker:x:65532:\n",
    # Otherwise glibc would query DNS before /etc/hosts.
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

_FOUND = re.compile(r"^\s*(?:(?P<name>\S+) => )?(?P<path>/\S+) \(0x", re.MULTILINE)


class RootFolder:
    """The folder that becomes the image.

    Args:
        path: Where it is made; must not exist.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)

    def within(self, path: Path) -> Path:
        """The path in the image of a file on this machine."""
        return self.path / path.relative_to("/")

    def copy(self, source: Path) -> None:
        """Copy a file to the same path; if it is a link, copy its target too."""
        target = self.within(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink() or target.exists():
            return
        if source.is_symlink():
            pointed_at = Path(os.path.normpath(source.parent / source.readlink()))
            target.symlink_to(source.readlink())
            self.copy(pointed_at)
            return
        shutil.copy2(source, target)

    def copy_tree(self, source: Path, without: Iterable[str] = ()) -> None:
        """Copy a folder to the same path."""
        shutil.copytree(source, self.within(source), symlinks=True, ignore=shutil.ignore_patterns(*without))

    def write(self, name: str, text: str) -> None:
        """Write a small file."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def copy_python(root: RootFolder) -> None:
    """The interpreter and its standard library."""
    prefix = Path(sys.base_prefix)
    for name in ("python", "python3", SCRIPTS[2]):
        root.copy(prefix / "bin" / name)
    root.copy_tree(Path(sysconfig.get_path("stdlib")), UNUSED)


def copy_environment(root: RootFolder, venv: Path) -> None:
    """The broker's packages."""
    root.copy_tree(venv, ("__pycache__", "include", "Activate.ps1", "activate*"))
    for data in list(root.within(venv).glob("lib/python*/site-packages/botocore/data/*")):
        if data.is_dir() and data.name not in SDK_DATA:
            shutil.rmtree(data)
    for script in (root.within(venv) / "bin").iterdir():
        if script.name not in SCRIPTS:
            script.unlink()


def copy_libraries(root: RootFolder) -> list[Path]:
    """Copy the shared libraries of interpreter and extension modules; return those from outside of both."""
    asked = [path for path in _files(root.path) if _is_elf(path)]
    found: set[Path] = set()
    for path in asked:
        original = Path("/") / path.relative_to(root.path)
        found |= set(_libraries(original))
    found |= {path for name in LOADED_BY_NAME for path in _cached(name)}
    outside = sorted(path for path in found if not root.within(path).exists())
    for path in outside:
        _copy_library(root, path)
    return outside


def _copy_library(root: RootFolder, path: Path) -> None:
    """Copy to the path where the loader looks: folders that are links (Debian's /lib) stay links."""
    first = Path("/", path.parts[1])
    if first.is_symlink():
        link = root.within(first)
        if not link.is_symlink():
            link.symlink_to(first.readlink())
        path = Path(os.path.normpath(first.parent / first.readlink()), *path.parts[2:])
    root.copy(path)


def _libraries(path: Path) -> Iterator[Path]:
    """The libraries that the loader would load for a file.

    Raises:
        SystemExit: A library is missing.

    """
    done = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False)
    if "not found" in done.stdout:
        sys.exit(f"{path} needs a library that is not installed:\n{done.stdout}")
    for match in _FOUND.finditer(done.stdout):
        yield Path(os.path.normpath(match["path"]))


def _cached(name: str) -> Iterator[Path]:
    """The path of a library in the loader's cache."""
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        if line.strip().startswith(f"{name} "):
            yield Path(line.rpartition("=> ")[2])
            return


def list_libraries(root: RootFolder, libraries: Iterable[Path]) -> None:
    """Create the loader's cache: without one it searches few folders, and not /usr/local/lib."""
    folders = dict.fromkeys(str(path.parent) for path in libraries)
    root.write("etc/ld.so.conf", "".join(f"{folder}\n" for folder in folders))
    subprocess.run(["ldconfig", "-X", "-r", str(root.path)], check=True)


def copy_trust(root: RootFolder) -> None:
    """The CA certificates, and Debian's configuration of OpenSSL.

    Raises:
        SystemExit: The base has no CA certificates.

    """
    if not CA_BUNDLE.is_file():
        sys.exit(f"{CA_BUNDLE} is missing: the base image must have the package ca-certificates.")
    root.write(str(CA_BUNDLE.relative_to("/")), CA_BUNDLE.read_text())
    for path in OPENSSL_CONFIG:
        if path.exists():
            root.copy(path)


def describe_packages(root: RootFolder, files: Iterable[Path]) -> None:
    """List in dpkg's format the Debian packages of the files, for scanners, and copy their licences."""
    names = sorted({name for path in files for name in _package(path)})
    for name in names:
        stanza = subprocess.run(["dpkg-query", "--status", name], capture_output=True, text=True, check=True).stdout
        bare = name.partition(":")[0]
        root.write(f"var/lib/dpkg/status.d/{bare}", stanza)
        licence = Path("/usr/share/doc", bare, "copyright")
        if licence.exists():
            root.write(str(licence.relative_to("/")), licence.read_text(errors="replace"))


def _package(path: Path) -> list[str]:
    """The package of a file; dpkg may know it by its path from before /lib became a link to /usr/lib."""
    resolved = path.resolve()
    names = dict.fromkeys([str(path), str(resolved), str(resolved).removeprefix("/usr"), f"/usr{path}"])
    for name in names:
        done = subprocess.run(["dpkg-query", "--search", name], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return [done.stdout.partition(": ")[0].partition(",")[0]]
    return []


def compile_all(root: RootFolder) -> None:
    """Compile every module, because the root file system is read-only; not by time stamps, which copying may lose."""
    done = compileall.compile_dir(
        root.path,
        maxlevels=50,
        quiet=1,
        force=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        stripdir=str(root.path),
        prependdir="/",
    )
    if not done:
        sys.exit("A module does not compile.")


def settle(root: RootFolder, epoch: int) -> None:
    """Set the owner of all files to root, minimal permissions, and one time stamp."""
    for path in [root.path, *root.path.rglob("*")]:
        if not path.is_symlink():
            executable = path.is_dir() or path.parent.name == "bin" or _is_elf(path)
            path.chmod(0o755 if executable else 0o644)
    (root.path / "tmp").chmod(0o1777)
    for path in [*root.path.rglob("*"), root.path]:
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def main() -> None:
    """Build the folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("root", type=Path, help="the folder to make")
    parser.add_argument("--venv", type=Path, required=True, help="the environment with the broker")
    parser.add_argument("--license", type=Path, required=True, help="the broker's licence")
    parser.add_argument("--epoch", type=int, required=True, help="Unix time in seconds that every file gets")
    arguments = parser.parse_args()
    root = RootFolder(arguments.root)
    copy_python(root)
    copy_environment(root, arguments.venv)
    libraries = copy_libraries(root)
    list_libraries(root, libraries)
    copy_trust(root)
    describe_packages(root, [*libraries, CA_PACKAGE])
    root.write("usr/share/doc/ims-token-broker/copyright", arguments.license.read_text())
    for name, text in FILES.items():
        root.write(name, text)
    (root.path / "tmp").mkdir()
    compile_all(root)
    settle(root, arguments.epoch)


if __name__ == "__main__":
    main()
