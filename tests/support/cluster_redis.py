"""A real Redis Cluster on loopback, whose nodes can be killed and frozen, and whose slots can be moved."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from redis.crc import key_slot
from redis.exceptions import RedisError

from tests.support.children import free_port, wait_until
from tests.support.redis_server import RedisServer

NODE_TIMEOUT_MILLISECONDS = 1000
"""How long a primary is silent before its replica takes over."""

_SLOTS = 16384
_PRIMARIES = 3
_ANYONE = ("user default on nopass ~* &* +@all",)

Certificates = tuple[Path, Path, Path]


@dataclass
class RedisCluster:
    """The nodes.

    Args:
        nodes: The first three are the primaries at the start, in the order of their slots; then their replicas, if any.
        tls: Whether they serve TLS.

    """

    nodes: tuple[RedisServer, ...]
    tls: bool = False

    @property
    def url(self) -> str:
        """The URL for the default user."""
        return self.url_as()

    def url_as(self, user: str = "", password: str = "") -> str:
        """The URL with a user and a password, and with two of the nodes."""
        login = f"{quote(user)}:{quote(password)}@" if password else ""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])
        return f"{'rediss' if self.tls else 'redis'}+cluster://{login}{hosts}"

    def flush(self) -> None:
        """Remove everything."""
        for node in self.nodes[:_PRIMARIES]:
            node.flush()

    def owner(self, key: str) -> RedisServer:
        """The node that owns the slot of `key`, according to the last node that answers: tests lose the first ones."""
        slot = key_slot(key.encode())
        for node in reversed(self.nodes):
            with contextlib.suppress(RedisError, OSError):
                slots = node.run("CLUSTER", "SLOTS")
                [port] = [int(each[2][1]) for each in slots if each[0] <= slot <= each[1]]
                return next(other for other in self.nodes if other.port == port)
        raise AssertionError("no node answers")

    def key_names(self) -> list[bytes]:
        """All key names, sorted."""
        return sorted(name for node in self.nodes[:_PRIMARIES] for name in node.key_names())

    def migrate(self, key: str, *, end: bool = True) -> RedisServer:
        """Move the slot of `key` to another primary: first the keys, then the slot; the new owner.

        Args:
            key: Any key.
            end: Whether to finish; otherwise the slot stays migrating, and its keys are where they were.

        """
        slot, old = key_slot(key.encode()), self.owner(key)
        new = next(node for node in self.nodes[:_PRIMARIES] if node is not old)
        new.run("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(old))
        old.run("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(new))
        if end:
            self.finish(slot, old, new)
        return new

    def finish(self, slot: int, old: RedisServer, new: RedisServer) -> None:
        """Move the keys of a migrating slot, and then the slot."""
        while names := old.run("CLUSTER", "GETKEYSINSLOT", slot, 100):
            old.run("MIGRATE", "127.0.0.1", new.port, "", 0, 5000, "KEYS", *names)
        for node in (new, old, *self.nodes[:_PRIMARIES]):
            node.run("CLUSTER", "SETSLOT", slot, "NODE", _id(new))

    def wait_until_whole(self) -> None:
        """Wait until every node that answers says that the cluster is up."""
        wait_until(lambda: all(_is_up(node) for node in self.nodes), "the cluster does not come up")


def _id(node: RedisServer) -> str:
    return str(node.run("CLUSTER", "MYID").decode())


def _is_up(node: RedisServer) -> bool:
    try:
        info = node.run("CLUSTER", "INFO")
    except (RedisError, OSError):
        return False
    text = info if isinstance(info, bytes) else repr(info).encode()
    return b"cluster_state:ok" in text or b"'cluster_state': 'ok'" in text


@contextlib.contextmanager
def running_cluster(
    tls: Certificates | None = None, acl: Sequence[str] = _ANYONE, *, replicas: bool = False
) -> Iterator[RedisCluster]:
    """Three primaries, and a replica of each if asked, for as long as the context lasts."""
    with contextlib.ExitStack() as stack:
        nodes = tuple(_node(stack, tls, acl) for _ in range(2 * _PRIMARIES if replicas else _PRIMARIES))
        for node in nodes:
            stack.callback(node.kill)
            node.start()
        cluster = RedisCluster(nodes, tls is not None)
        bounds = [number * _SLOTS // _PRIMARIES for number in range(_PRIMARIES + 1)]
        for number, node in enumerate(nodes):
            # A node of an earlier cluster, whose port this one got, may have spoken to it already.
            node.run("CLUSTER", "RESET", "HARD")
            node.run("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < _PRIMARIES:
                node.run("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
        for other in nodes[1:]:
            nodes[0].run("CLUSTER", "MEET", "127.0.0.1", other.port, _bus_port(other))
        cluster.wait_until_whole()
        for number, node in enumerate(nodes[_PRIMARIES:]):
            primary = _id(nodes[number])
            wait_until(lambda node=node, primary=primary: _replicates(node, primary), "a replica does not connect")  # type: ignore[misc]
        if replicas:
            wait_until(
                lambda: all(node.run("INFO", "replication")["connected_slaves"] == 1 for node in nodes[:_PRIMARIES]),
                "the replicas do not connect",
            )
        yield cluster


def _node(stack: contextlib.ExitStack, tls: Certificates | None, acl: Sequence[str]) -> RedisServer:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-")))
    options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    options += ["--cluster-node-timeout", str(NODE_TIMEOUT_MILLISECONDS), "--cluster-replica-validity-factor", "0"]
    if tls:
        options += ["--tls-cluster", "yes", "--tls-replication", "yes"]
    return RedisServer(folder, tls, acl, options)


def _bus_port(node: RedisServer) -> int:
    [port] = node.run("CONFIG", "GET", "cluster-port").values()
    return int(port)


def _replicates(node: RedisServer, primary: str) -> bool:
    try:
        node.run("CLUSTER", "REPLICATE", primary)
    except RedisError:  # it does not know that node yet
        return False
    return True


@pytest.fixture(scope="session")
def session_cluster() -> Iterator[RedisCluster]:
    """The cluster of `redis_cluster`."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def redis_cluster(session_cluster: RedisCluster) -> RedisCluster:
    """One cluster of three primaries for all tests of the run, empty at the beginning of each."""
    session_cluster.flush()
    return session_cluster


@pytest.fixture
def own_cluster() -> Iterator[RedisCluster]:
    """A cluster with replicas of the test's own, to be killed, frozen or changed."""
    with running_cluster(replicas=True) as cluster:
        yield cluster
