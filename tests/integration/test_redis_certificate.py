"""The client certificate for a real Redis that asks for one, which is what Redis does by default."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

import pytest

from app.adapters.redis import RedisTls
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.events import DependencyCalled
from tests.support.asking_servers import asking_redis, issued_files
from tests.support.cached_tokens import KEY, token_of
from tests.support.mounted import MountedFolder
from tests.support.redis_broker import RedisReplica, redis_replica
from tests.support.redis_server import RedisServer
from tests.support.replaced_pair import replace_under_load
from tests.support.tls import Authority, IssuedCertificate
from tests.support.waiting import until

PATIENT = 2.0
"""Seconds for one call: a handshake on a busy machine takes longer than production allows it."""


def secret(issued: IssuedCertificate) -> dict[str, bytes]:
    """The files of a Kubernetes Secret of the type TLS."""
    return {"tls.crt": issued.chain, "tls.key": issued.key}


async def connects_anew(server: RedisServer, replica: RedisReplica) -> None:
    """Close the connections of the replica, so that it makes new ones, and read once."""
    await replica.client._leave()
    assert (await replica.cache.read(KEY)).token is None


async def test_a_client_certificate_is_presented(tmp_path: Path) -> None:
    """With the certificate and key a Redis that asks for them is used as any other; without them it refuses."""
    authority = Authority()
    mount = MountedFolder(tmp_path / "client", secret(authority.issue()))
    with asking_redis(tmp_path, authority) as server:
        files = RedisTls(tmp_path / "ca.pem", mount / "tls.crt", mount / "tls.key")
        async with redis_replica(server.url, tls=files, timeout=PATIENT) as replica:
            await replica.cache.store(token_of(minted_at=1.0))
            assert await replica.lease.acquire(KEY) is not None
        async with redis_replica(server.url, tls=RedisTls(files.cacert), timeout=PATIENT) as replica:
            with pytest.raises(CacheUnavailableError, match="client certificate"):
                await replica.cache.read(KEY)


async def test_a_renewed_certificate_is_used_for_new_connections(tmp_path: Path) -> None:
    """After the files are replaced new connections present the new certificate, without a restart."""
    authority, stranger = Authority(), Authority()
    mount = MountedFolder(tmp_path / "client", secret(authority.issue()))
    with asking_redis(tmp_path, authority) as server:
        files = RedisTls(tmp_path / "ca.pem", mount / "tls.crt", mount / "tls.key")
        async with redis_replica(server.url, tls=files, timeout=PATIENT) as replica:
            await connects_anew(server, replica)
            mount.swap(secret(stranger.issue()))
            assert (await replica.cache.read(KEY)).token is None  # the open connection stays
            with pytest.raises(CacheUnavailableError, match="BROKER_REDIS_CERT_FILE"):
                await connects_anew(server, replica)
            assert replica.events.of(DependencyCalled)[-1].outcome == "tls_failed"
            mount.swap(secret(authority.issue(kind="rsa")))
            await connects_anew(server, replica)


async def test_a_refused_certificate_is_named_although_open_connections_are_answered(tmp_path: Path) -> None:
    """With TLS 1.3 the refusal may arrive as no more than a reset; that other connections work says nothing of it."""
    authority = Authority()
    mount = MountedFolder(tmp_path / "client", secret(authority.issue()))
    with asking_redis(tmp_path, authority) as server:
        files = RedisTls(tmp_path / "ca.pem", mount / "tls.crt", mount / "tls.key")
        async with redis_replica(server.url, tls=files, timeout=PATIENT) as replica, asyncio.TaskGroup() as tasks:

            async def keep_asking() -> None:
                while True:
                    await replica.cache.read(KEY)

            async def new_connection() -> None:
                # For calls that may wait there are connections of their own. On a busy machine one may not end in time.
                with pytest.raises(CacheUnavailableError, match=r"BROKER_REDIS_CERT_FILE|in time"):
                    await replica.client.listen("ping", "key", ("PING",))

            asking = tasks.create_task(keep_asking())
            await until(lambda: len(replica.events.of(DependencyCalled)) > 50)
            mount.swap(secret(Authority().issue()))
            for _ in range(20):
                await asyncio.gather(*(new_connection() for _ in range(4)))
            assert not asking.done()
            asking.cancel()


async def test_a_connection_that_is_lost_after_an_answer_says_nothing_of_the_certificate(tmp_path: Path) -> None:
    """If Redis has answered on a connection, it took the certificate: to lose that connection is an outage."""
    authority = Authority()
    with asking_redis(tmp_path, authority) as server:
        files = RedisTls(tmp_path / "ca.pem", *issued_files(tmp_path, authority))
        async with redis_replica(server.url, tls=files, timeout=PATIENT) as replica:
            await replica.client.listen("ping", "key", ("PING",))
            waiting = asyncio.create_task(replica.client.listen("wait", "key", ("BLPOP", "key", 0)))
            await until(lambda: server.run("INFO", "clients")["blocked_clients"] == 1)
            server.kill()
            with pytest.raises(CacheUnavailableError, match="Redis cannot be reached, or closed the connection"):
                await waiting


async def test_a_bad_renewal_leaves_the_last_certificate_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A renewal whose key belongs to another certificate is logged once, and the last good pair stays."""
    authority = Authority()
    mount = MountedFolder(tmp_path / "client", secret(authority.issue()))
    with asking_redis(tmp_path, authority) as server, caplog.at_level(logging.WARNING):
        files = RedisTls(tmp_path / "ca.pem", mount / "tls.crt", mount / "tls.key")
        async with redis_replica(server.url, tls=files, timeout=PATIENT) as replica:
            await connects_anew(server, replica)
            mount.swap({"tls.crt": authority.issue().chain, "tls.key": authority.issue().key})
            for _ in range(3):
                await connects_anew(server, replica)
            (record,) = caplog.records
            assert record.getMessage().endswith("the last one stays: key: does not belong to the certificate.")


@pytest.mark.parametrize("key_first", [False, True])
async def test_files_replaced_one_at_a_time_under_load(tmp_path: Path, key_first: bool) -> None:
    """Until the two files match, new connections use the pair in force and none fails; then they use the new pair."""
    authority = Authority()
    mine = tmp_path / "tls.crt", tmp_path / "tls.key"
    for file, content in zip(mine, secret(authority.issue()).values(), strict=True):
        file.write_bytes(content)
    with asking_redis(tmp_path, authority) as server:
        async with redis_replica(server.url, tls=RedisTls(tmp_path / "ca.pem", *mine), timeout=PATIENT) as replica:
            await connects_anew(server, replica)
            strange = Authority().issue()
            await replace_under_load(partial(connects_anew, server, replica), mine, strange, key_first=key_first)
            with pytest.raises(CacheUnavailableError, match="BROKER_REDIS_CERT_FILE"):
                await connects_anew(server, replica)


@pytest.mark.parametrize("content", [None, b"", b"canary"])
async def test_files_that_cannot_be_used_are_an_outage_of_redis(tmp_path: Path, content: bytes | None) -> None:
    """A certificate that is missing, empty or not PEM costs only the shared cache, and only until it is replaced."""
    authority = Authority()
    issued = authority.issue()
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    key.write_bytes(issued.key)
    if content is not None:
        certificate.write_bytes(content)
    with asking_redis(tmp_path, authority) as server:
        async with redis_replica(
            server.url, tls=RedisTls(tmp_path / "ca.pem", certificate, key), timeout=PATIENT
        ) as replica:
            with pytest.raises(CacheUnavailableError, match=r"BROKER_REDIS_CERT_FILE.*cannot be used") as raised:
                await replica.cache.read(KEY)
            assert "canary" not in str(raised.value) + repr(replica.events.all)
            certificate.write_bytes(issued.chain)
            assert (await replica.cache.read(KEY)).token is None
