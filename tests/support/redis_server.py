"""A real Redis on a loopback port, with the faults that tests need: killed, frozen, flushed, full, locked."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.support.children import free_port
from tests.support.tools import skip_or_fail

_START_DEADLINE = 10.0
_STOP_DEADLINE = 5.0


class RedisServer:
    """A server process without persistence.

    Args:
        folder: The folder for its log and data.
        tls: (certificate, key, CA certificate) to serve TLS instead of plain TCP.
        acl: Lines of an ACL file.
        options: Further options of its command line, which win over the others.

    """

    def __init__(
        self,
        folder: Path,
        tls: tuple[Path, Path, Path] | None = None,
        acl: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._tls = tls
        self._acl = acl
        self._further = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """The URL for the default user."""
        return self.url_as()

    def url_as(self, user: str = "", password: str = "", host: str = "127.0.0.1", database: int = 0) -> str:
        """The URL with a user and a password."""
        login = f"{quote(user)}:{quote(password)}@" if password else ""
        return f"{'rediss' if self._tls else 'redis'}://{login}{host}:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        binary = shutil.which("redis-server")
        if binary is None:
            skip_or_fail("redis-server is missing; install it (Debian: apt-get install redis-server)")
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen([binary, *self._options()], stdout=log, stderr=log, cwd=self._folder)
        deadline = time.monotonic() + _START_DEADLINE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"Redis does not start: {(self._folder / 'server.log').read_text()[-2000:]}", pytrace=False)
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_DEADLINE)
            self._process = None

    def restart(self) -> None:
        """Kill it and start it again on the same port, empty."""
        self.kill()
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze it while the context lasts: it accepts connections and answers nothing."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def freeze(self) -> None:
        """Stop the process; the kernel still takes connections for it."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze`."""
        self._signal(signal.SIGCONT)

    def run(self, *command: str | bytes | float) -> Any:
        """Run a command as an administrator; the plain answer."""
        with self._client() as client:
            return client.execute_command(*command)

    def flush(self) -> None:
        """Remove everything."""
        self.run("FLUSHALL")

    def key_names(self) -> list[bytes]:
        """All key names, sorted."""
        return sorted(self.run("KEYS", "*"))

    def dump(self) -> bytes:
        """All key names and all values, as Redis writes them to disk."""
        return b"".join(key + b"=" + (self.run("DUMP", key) or b"") for key in self.key_names())

    def _client(self) -> Redis:
        options: dict[str, Any] = {}
        if self._tls is not None:
            cert, key, ca = map(str, self._tls)
            options = {"ssl": True, "ssl_ca_certs": ca, "ssl_check_hostname": False}
            options |= {"ssl_certfile": cert, "ssl_keyfile": key}  # for a server that asks for a certificate
        return Redis(
            "127.0.0.1", self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0), decode_responses=False, **options
        )

    def _answers(self) -> bool:
        try:
            self.run("PING")
        except (RedisError, OSError):
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _options(self) -> list[str]:
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]
        if self._tls is None:
            options += ["--port", str(self.port)]
        else:
            cert, key, ca = map(str, self._tls)
            options += ["--port", "0", "--tls-port", str(self.port), "--tls-cert-file", cert, "--tls-key-file", key]
            options += ["--tls-ca-cert-file", ca, "--tls-auth-clients", "no"]
        if self._acl:
            file = self._folder / "users.acl"
            file.write_text("\n".join(self._acl) + "\n")
            options += ["--aclfile", str(file)]
        return [*options, *self._further]


@contextlib.contextmanager
def running_redis(
    tls: tuple[Path, Path, Path] | None = None,
    acl: Sequence[str] = ("user default on nopass ~* &* +@all",),
    options: Sequence[str] = (),
) -> Iterator[RedisServer]:
    """A server for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder), tls, acl, options)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="session")
def session_redis() -> Iterator[RedisServer]:
    """The server of `redis_server`."""
    with running_redis() as server:
        yield server


@pytest.fixture
def redis_server(session_redis: RedisServer) -> RedisServer:
    """One server for all tests of the run, empty at the beginning of each."""
    session_redis.flush()
    return session_redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server of the test's own, to be killed, frozen or filled."""
    with running_redis() as server:
        yield server
