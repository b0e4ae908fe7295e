"""A real Redis with a replica and three Sentinels on loopback, which can be killed, frozen and failed over."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from typing_extensions import override

from tests.support.children import wait_until
from tests.support.redis_server import RedisServer

PRIMARY_NAME = "tokens"
DOWN_MILLISECONDS = 500
"""How long a primary is silent before the Sentinels replace it."""

_QUICK = ("info-period", "ping-period", "ask-period", "publish-period", "election-timeout")
_OVER_TLS = ("--tls-replication", "yes")
"""Servers speak TLS among themselves, too."""

_ANYONE = ("user default on nopass ~* &* +@all",)

Certificates = tuple[Path, Path, Path]


class SentinelServer(RedisServer):
    """One Sentinel.

    Args:
        folder: The folder for its log and configuration.
        monitored: Port of the primary at the beginning.
        tls: As `RedisServer`.
        acl: As `RedisServer`.

    """

    def __init__(self, folder: Path, monitored: int, tls: Certificates | None, acl: Sequence[str]) -> None:
        super().__init__(folder, tls, acl, ["--sentinel", *_OVER_TLS] if tls else ["--sentinel"])
        self._monitored = monitored

    @override
    def _options(self) -> list[str]:
        file = self._folder / "sentinel.conf"
        if not file.exists():  # a Sentinel writes into it what it learns
            file.write_text(
                f"sentinel monitor {PRIMARY_NAME} 127.0.0.1 {self._monitored} 2\n"
                f"sentinel down-after-milliseconds {PRIMARY_NAME} {DOWN_MILLISECONDS}\n"
                f"sentinel failover-timeout {PRIMARY_NAME} 3000\n"
            )
        return [str(file), *super()._options()]

    @override
    def _answers(self) -> bool:
        try:
            self.run("PING")
        except AuthenticationError:  # it asks for a login, so it is there
            return True
        except (RedisError, OSError):
            return False
        return True

    def knows_all(self) -> bool:
        """Whether it knows the replica and the two other Sentinels."""
        facts = self.run("SENTINEL", "MASTER", PRIMARY_NAME)
        return (facts[b"num-slaves"], facts[b"num-other-sentinels"]) == (b"1", b"2")

    def primary_port(self) -> int:
        """Where it says that the primary is."""
        return int(self.run("SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY_NAME)[1])


@dataclass
class SentinelGroup:
    """The servers.

    Args:
        data: The first primary, and its replica.
        sentinels: Three of them.
        tls: Whether all of them serve TLS.

    """

    data: tuple[RedisServer, RedisServer]
    sentinels: tuple[SentinelServer, ...]
    tls: bool = False

    @property
    def url(self) -> str:
        """The URL for the default user."""
        return self.url_as()

    def url_as(self, user: str = "", password: str = "") -> str:
        """The URL with a user and a password of Redis."""
        login = f"{quote(user)}:{quote(password)}@" if password else ""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"{'rediss' if self.tls else 'redis'}+sentinel://{login}{hosts}/{PRIMARY_NAME}"

    @property
    def primary(self) -> RedisServer:
        """The server that is the primary according to the first Sentinel."""
        port = self.sentinels[0].primary_port()
        return next(server for server in self.data if server.port == port)

    @property
    def replica(self) -> RedisServer:
        """The other one."""
        primary = self.primary
        return next(server for server in self.data if server is not primary)

    def fail_over(self) -> None:
        """Order a failover, and wait until all Sentinels name the new primary."""
        new = self.replica
        wait_until(self._failover_is_accepted, "no replica can be promoted")
        self.wait_for_primary(new)

    def _failover_is_accepted(self) -> bool:
        try:
            self.sentinels[0].run("SENTINEL", "FAILOVER", PRIMARY_NAME)
        except ResponseError:  # it does not know the replica well enough yet
            return False
        return True

    def wait_for_primary(self, server: RedisServer) -> None:
        """Wait until all Sentinels name `server`."""
        wait_until(
            lambda: {sentinel.primary_port() for sentinel in self.sentinels} == {server.port}, "no Sentinel fails over"
        )


@contextlib.contextmanager
def running_sentinels(
    tls: Certificates | None = None, acl: Sequence[str] = _ANYONE, sentinel_acl: Sequence[str] = _ANYONE
) -> Iterator[SentinelGroup]:
    """A group for as long as the context lasts.

    Args:
        tls: As `RedisServer`, for all servers.
        acl: As `RedisServer`, of the primary and the replica.
        sentinel_acl: As `RedisServer`, of the Sentinels.

    """
    options = _OVER_TLS if tls else ()
    with contextlib.ExitStack() as stack:

        def started(server: RedisServer) -> None:
            stack.callback(server.kill)
            server.start()

        primary = RedisServer(_folder(stack), tls, acl, options)
        started(primary)
        replica = RedisServer(_folder(stack), tls, acl, [*options, "--replicaof", "127.0.0.1", str(primary.port)])
        started(replica)
        wait_until(lambda: primary.run("INFO", "replication")["connected_slaves"] == 1, "the replica does not connect")
        sentinels = tuple(SentinelServer(_folder(stack), primary.port, tls, sentinel_acl) for _ in range(3))
        for sentinel in sentinels:
            started(sentinel)
            for period in _QUICK:
                sentinel.run("SENTINEL", "DEBUG", period, "200")
        wait_until(lambda: all(sentinel.knows_all() for sentinel in sentinels), "the Sentinels do not meet")
        yield SentinelGroup((primary, replica), sentinels, tls is not None)


def _folder(stack: contextlib.ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-")))


@pytest.fixture(scope="session")
def session_sentinels() -> Iterator[SentinelGroup]:
    """The group of `sentinel_group`."""
    with running_sentinels() as group:
        yield group


@pytest.fixture
def sentinel_group(session_sentinels: SentinelGroup) -> SentinelGroup:
    """One group for all tests of the run, empty at the beginning of each."""
    session_sentinels.primary.flush()
    return session_sentinels


@pytest.fixture
def own_sentinels() -> Iterator[SentinelGroup]:
    """A group of the test's own, to be killed, frozen or failed over."""
    with running_sentinels() as group:
        yield group
