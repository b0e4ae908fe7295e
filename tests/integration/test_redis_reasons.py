"""Why a real Redis cannot be used: each cause has a sentence that reaches the operator, and none has a value."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from app.adapters.redis import RedisTls
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.events import DependencyCalled
from tests.support.cached_tokens import KEY, token_of
from tests.support.children import free_port
from tests.support.redis_broker import RedisReplica, redis_replica
from tests.support.redis_server import RedisServer, running_redis
from tests.support.tls import server_certificate

PASSWORD = "canary-password-of-redis"
ANYONE = "user default on nopass ~* &* +@all"

Operation = Callable[[RedisReplica], Awaitable[object]]


async def read(replica: RedisReplica) -> None:
    """What each request without a token in memory does first."""
    await replica.cache.read(KEY)


async def acquire(replica: RedisReplica) -> None:
    """What runs a script."""
    await replica.lease.acquire(KEY)


async def fails(url: str, operation: Operation, outcome: str, sentence: str, cacert: Path | None = None) -> None:
    """Check that the error and the event of the call have the sentence, and neither a password."""
    async with redis_replica(url, tls=None if cacert is None else RedisTls(cacert), timeout=1.0) as replica:
        with pytest.raises(CacheUnavailableError, match=sentence) as raised:
            await operation(replica)
        (call,) = replica.events.of(DependencyCalled)
        assert (call.outcome, call.reason) == (outcome, raised.value.detail)
        assert "canary" not in repr(call)


@pytest.mark.parametrize(("options", "users", "operation", "outcome", "sentence"), [
    (["--databases", "1"], "", read, "wrong_database", "does not have the database"),
    (["--rename-command", "EVAL", "", "--rename-command", "EVALSHA", ""], "", acquire, "unknown_command", "evalsha"),
    ([], "~* +@all -@scripting", acquire, "forbidden", "the command evalsha"),
    ([], "~* +@all -eval", acquire, "forbidden", "the command eval;"),
    ([], "~* +@all -pttl", read, "forbidden", "a command in the broker's scripts"),
    ([], "~* +@all -set", acquire, "forbidden", "does not allow"),
    ([], "~* +@all -select", read, "forbidden", "the command select"),
    ([], "~other:* +@all", read, "forbidden", "BROKER_REDIS_PREFIX"),
    (["--cluster-enabled", "yes"], "", read, "cluster_mode", "This Redis runs in cluster mode"),
    (["--min-replicas-to-write", "1"], "", acquire, "refuses_writes", "min-replicas-to-write"),
], ids=["no-database", "no-scripts", "scripts-denied", "eval-denied", "pttl-denied", "set-denied", "select-denied",
        "keys-denied", "cluster", "few-replicas"])  # fmt: skip
async def test_what_redis_refuses(
    options: Sequence[str], users: str, operation: Operation, outcome: str, sentence: str
) -> None:
    """A wrong database, scripts or commands that are off or denied, and cluster mode are distinguished."""
    cluster = ["--cluster-port", str(free_port())] if "--cluster-enabled" in options else []
    user = f"user broker on >{PASSWORD} {users or '~* +@all'}"
    database = 0 if cluster or "~other:*" in users else 1
    with running_redis(acl=[ANYONE, user], options=[*options, *cluster]) as server:
        await fails(server.url_as("broker", PASSWORD, database=database), operation, outcome, sentence)


async def test_a_database_of_a_cluster() -> None:
    """A database other than 0 at a Redis in cluster mode is explained by the cluster mode."""
    with running_redis(options=["--cluster-enabled", "yes", "--cluster-port", str(free_port())]) as server:
        await fails(server.url_as(database=1), read, "cluster_mode", "cluster mode")


@pytest.mark.parametrize(("user", "password", "sentence"), [
    ("", "", "asks for a user name or password"),
    ("", PASSWORD, "refuses the broker's user name or password"),
    ("canary", PASSWORD, "refuses the broker's user name or password"),
])  # fmt: skip
async def test_a_missing_or_wrong_login(user: str, password: str, sentence: str) -> None:
    """A missing password and a wrong one are distinguished."""
    with running_redis() as server:
        server.run("ACL", "SETUSER", "admin", "on", ">admin", "~*", "&*", "+@all")
        server.run("ACL", "SETUSER", "default", "resetpass", ">another")
        await fails(server.url_as(user, password), read, "unauthenticated", sentence)


async def test_a_password_that_redis_does_not_have() -> None:
    """A password for a Redis without one is refused by Redis, and the sentence says so."""
    with running_redis(acl=[]) as server:
        await fails(server.url_as("", PASSWORD), read, "unauthenticated", "Redis has no password")


async def test_an_unknown_host_and_a_closed_port() -> None:
    """A host without an address, and a port at which nothing listens, are distinguished."""
    await fails("redis://no-such-host.invalid", read, "unreachable", "the host of BROKER_REDIS_URL is unknown")
    await fails(f"redis://127.0.0.1:{free_port()}", read, "unreachable", "nothing listens")


async def test_plain_text_where_tls_is_served_and_the_reverse(tmp_path: Path, redis_server: RedisServer) -> None:
    """A URL with the wrong scheme is explained by the first failed call."""
    with running_redis(tls=server_certificate(tmp_path)) as server:
        plain = server.url.replace("rediss://", "redis://")
        await fails(plain, read, "unreachable", "must begin with rediss://")
    tls = redis_server.url.replace("redis://", "rediss://")
    await fails(tls, read, "timeout", "The TLS handshake with Redis did not end in time: .* must begin with redis://")


async def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    """A server's certificate of an unknown CA and one for another name are distinguished."""
    chain, key, ca = server_certificate(tmp_path)
    with running_redis(tls=(chain, key, ca)) as server:
        await fails(server.url, read, "tls_failed", "BROKER_REDIS_CACERT")
        await fails(server.url_as(host="localhost"), read, "tls_failed", "not for the host", cacert=ca)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_a_missing_client_certificate(tmp_path: Path, version: str) -> None:
    """A Redis that asks for a client certificate, as it does by default, is distinguished from one that is down."""
    chain, key, ca = server_certificate(tmp_path)
    options = ["--tls-auth-clients", "yes", "--tls-protocols", version]
    with running_redis(tls=(chain, key, ca), options=options) as server:
        await fails(server.url, read, "tls_failed", "client certificate.*BROKER_REDIS_CERT_FILE", cacert=ca)


async def test_a_real_replica_is_read_and_reported_and_never_opens_the_circuit(redis_server: RedisServer) -> None:
    """A replica answers reads, refuses leases and tokens with one sentence, and the circuit stays closed."""
    with running_redis(options=["--replicaof", "127.0.0.1", str(redis_server.port)]) as server:
        async with redis_replica(server.url) as replica:
            for _ in range(5):
                for use in (replica.lease.acquire(KEY), replica.cache.store(token_of(minted_at=time.time()))):
                    with pytest.raises(CacheUnavailableError, match=r"read-only replica.*to the primary"):
                        await use
            await replica.cache.read(KEY)
            assert not replica.client.circuit_is_open
            assert set(replica.events.calls("acquire") + replica.events.calls("store")) == {"read_only"}


async def test_too_many_clients() -> None:
    """A Redis that takes no further connections says so."""
    with running_redis(options=["--maxclients", "1"]) as server:
        async with redis_replica(server.url) as replica:
            await replica.cache.store(token_of(minted_at=1.0))
            await fails(server.url, read, "too_many_clients", "maxclients")
