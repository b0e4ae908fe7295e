"""What the image carries, and what it says about itself."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest

from tests.support.image import BUILD_ARGUMENTS, Image

LIST_FILES = """
import json, os
found = []
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if folder != "/" or name not in {"proc", "sys", "dev", "run"}]
    for name in folders + files:
        path = os.path.join(folder, name)
        status = os.lstat(path)
        found.append([path, status.st_mode, status.st_uid, status.st_mtime])
print(json.dumps(found))
"""
OPEN_LIBRARIES = """
import ctypes, os
opened = 0
for top in ("/usr", "/opt"):
    for folder, _, files in os.walk(top):
        for name in files:
            if ".so" in name and not name.startswith("ld-linux"):
                ctypes.CDLL(os.path.join(folder, name))
                opened += 1
print(opened)
"""
IMPORT_ALL = """
import importlib, pkgutil
import app
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
modules = [module.name for module in pkgutil.walk_packages(app.__path__, "app.")]
for module in modules:
    importlib.import_module(module)
print(len(modules))
"""
SDK_SERVICES = """
import botocore.session
session = botocore.session.Session()
for service in ("kms", "sts", "sso", "sso-oidc", "signin"):
    session.create_client(service, region_name="eu-central-1")
print(sorted(session.get_available_services()))
"""
FORBIDDEN = {
    "sh",
    "bash",
    "dash",
    "busybox",
    "apt",
    "apt-get",
    "dpkg",
    "apk",
    "rpm",
    "pip",
    "pip3",
    "perl",
    "ld",
    "ldd",
}
BY_THE_RUNTIME = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab"}


@dataclass(frozen=True)
class File:
    """A file, link or folder of the image."""

    path: PurePosixPath
    mode: int
    owner: int
    modified: float


@pytest.fixture(scope="module")
def files(image: Image) -> list[File]:
    """All files except those that the runtime mounts."""
    listed = json.loads(image.python(LIST_FILES))
    return [File(PurePosixPath(path), *rest) for path, *rest in listed if path not in BY_THE_RUNTIME]


def test_there_is_nothing_to_run_but_the_broker(files: list[File]) -> None:
    """Python, the broker's script and the loader are the only programs: no shell, no package manager, no pip."""
    programs = {
        str(file.path)
        for file in files
        if stat.S_ISREG(file.mode)
        and file.mode & 0o111
        and ".so" not in file.path.name.partition("-")[0] + file.path.suffix
    }
    loaders = {program for program in programs if PurePosixPath(program).name.startswith("ld-linux")}

    assert programs - loaders == {"/usr/local/bin/python3.12", "/opt/broker/bin/ims-token-broker"}
    assert {file.path.name for file in files if not stat.S_ISDIR(file.mode)} & FORBIDDEN == set()
    assert [file.path for file in files if file.path.name in {"pip", "setuptools", "ensurepip"}] == []


def test_no_file_grants_rights(files: list[File]) -> None:
    """No file is setuid or setgid, all belong to root, and none but /tmp may be written by others."""
    assert [file.path for file in files if file.mode & (stat.S_ISUID | stat.S_ISGID)] == []
    assert [file.path for file in files if file.owner != 0] == []
    writable = [file.path for file in files if not stat.S_ISLNK(file.mode) and file.mode & 0o022]
    assert writable == [PurePosixPath("/tmp")]


def test_every_file_has_the_requested_time(files: list[File]) -> None:
    """The time of each file of the program is that of the build argument, so that the same commit is the same image."""
    packages = [
        file for file in files if file.path.is_relative_to("/opt/broker") or file.path.is_relative_to("/usr/local")
    ]

    assert len(packages) > 1000
    assert {file.modified for file in packages} == {float(BUILD_ARGUMENTS["SOURCE_DATE_EPOCH"])}


def test_every_module_is_compiled(files: list[File]) -> None:
    """Each module of the program lies there compiled: nothing could be at run time."""
    paths = {file.path for file in files}
    modules = [path for path in paths if path.suffix == ".py" and "app" in path.parts]

    assert len(modules) > 50
    assert [path for path in modules if path.parent / "__pycache__" / f"{path.stem}.cpython-312.pyc" not in paths] == []


def test_every_shared_library_loads(image: Image) -> None:
    """Each extension module and shared library of the image finds all that it is linked with."""
    assert int(image.python(OPEN_LIBRARIES)) > 60


def test_every_module_of_the_broker_loads(image: Image) -> None:
    """All of the program can be imported, and the exporter of traces, which is an extra elsewhere."""
    assert int(image.python(IMPORT_ALL)) > 50


def test_the_aws_sdk_knows_only_what_the_broker_asks(image: Image) -> None:
    """Of the AWS services the image describes the signer and those of logins, and they can be used."""
    assert image.python(SDK_SERVICES).strip() == "['kms', 'signin', 'sso', 'sso-oidc', 'sts']"


def test_the_packages_of_the_base_are_listed(files: list[File]) -> None:
    """Scanners find which of Debian's packages the libraries came from, each with its licence."""
    packages = {file.path.name for file in files if file.path.parent == PurePosixPath("/var/lib/dpkg/status.d")}
    licences = {file.path.parent.name for file in files if file.path.match("/usr/share/doc/*/copyright")}

    assert {"libc6", "libssl3", "ca-certificates", "zlib1g"} <= packages
    assert licences == packages | {"ims-token-broker"}


def test_the_image_describes_itself(image: Image) -> None:
    """Labels, user, entry point, port, stop signal and health check are set."""
    config = image.config
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}

    for name in ("version", "revision", "created", "source"):
        assert labels[name] == BUILD_ARGUMENTS[name.upper()]
    assert (labels["title"], labels["licenses"]) == ("ims-token-broker", "Apache-2.0")
    assert labels["description"]
    assert config["User"] == "65532:65532"
    assert (config["Entrypoint"], config["Cmd"]) == (["ims-token-broker"], ["serve"])
    assert config["WorkingDir"] in {"", "/"}
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "ims-token-broker", "health"]
