"""Programs below ``tests/clients`` that get a token with an OAuth 2.0 library of another language, unchanged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.processes import environment
from tests.support.tools import skip_or_fail

_PROGRAMS = Path(__file__).resolve().parent.parent / "clients"
_NOT_THE_LOCKED = ("checksum mismatch", "missing go.sum entry", "EINTEGRITY", "EUSAGE")
_PREPARE_DEADLINE = 240.0
_RUN_DEADLINE = 30.0


@dataclass(frozen=True)
class ReportedToken:
    """A token as a client library reports it.

    Args:
        access_token: The token.
        token_type: In the letters that the library uses.
        expiry: Unix time in seconds at which the library takes it to end.

    """

    access_token: str = field(repr=False)
    token_type: str
    expiry: float


class NotIssuedError(Exception):
    """A library got no token; the text is the library's own."""


class ClientProgram:
    """A program that is ready to run.

    Args:
        command: The command that starts it.
        folder: Its working directory and home.

    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command = list(command)
        self._folder = folder

    def token(self, url: str, name: str, key: str, org: str, style: str) -> ReportedToken:
        """Get a token from `url`, as the caller `name` with its API `key`.

        Args:
            url: What the library wants: the token URL, or the broker's base URL.
            name: The client id.
            key: The client secret.
            org: What to put into the form; empty for nothing.
            style: How the client authenticates: ``basic`` or ``form``.

        Raises:
            NotIssuedError: The library got none.

        """
        result = subprocess.run(
            [*self._command, url, name, key, org, style],
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=environment(self._folder),
            timeout=_RUN_DEADLINE,
            check=False,
        )
        if result.returncode != 0:
            raise NotIssuedError(result.stderr)
        return ReportedToken(**json.loads(result.stdout))


def go_program(folder: Path) -> ClientProgram:
    """The one with golang.org/x/oauth2/clientcredentials, built into `folder`."""
    go = shutil.which("go")
    if go is None:
        skip_or_fail("go is missing; install it to run the tests of Go's OAuth client")
    source, binary = _PROGRAMS / "go", folder / "client"
    settings = {"GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}
    _download([go, "mod", "download"], source, settings)
    built = _prepare([go, "build", "-o", str(binary), "."], source, settings)
    if built.returncode != 0:
        pytest.fail(f"Go's OAuth client does not compile: {built.stderr}", pytrace=False)
    return ClientProgram([str(binary)], folder)


def node_program(folder: Path) -> ClientProgram:
    """The one with openid-client, installed into `folder` as its lock file says."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        skip_or_fail("node or npm is missing; install them to run the tests of Node's OAuth client")
    copy = folder / "client"
    shutil.copytree(_PROGRAMS / "node", copy, ignore=shutil.ignore_patterns("node_modules"))
    _download([npm, "ci"], copy, {})
    return ClientProgram([node, str(copy / "main.mjs")], folder)


def _download(command: Sequence[str], folder: Path, settings: Mapping[str, str]) -> None:
    """Get packages as a lock file says; without a network they are parts that are missing, but never other ones."""
    result = _prepare(command, folder, settings)
    if any(complaint in result.stderr for complaint in _NOT_THE_LOCKED):
        pytest.fail(f"a package of an OAuth client is not the one of its lock file: {result.stderr}", pytrace=False)
    if result.returncode != 0:
        skip_or_fail(f"the packages of an OAuth client are unavailable: {result.stderr[-2000:]}")


def _prepare(command: Sequence[str], folder: Path, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **settings},
        timeout=_PREPARE_DEADLINE,
        check=False,
    )
