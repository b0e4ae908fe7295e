"""Login to a real Redis by user and password outside the URL; the password file may change at any time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.adapters.redis import RedisLogin
from app.domain.dependency_errors import CacheUnavailableError
from tests.support.cached_tokens import KEY
from tests.support.mounted import MountedFolder
from tests.support.redis_broker import RedisReplica, redis_replica
from tests.support.redis_server import RedisServer, running_redis
from tests.support.waiting import until_answered

FIRST, SECOND = "canary first", "canary-second"
REFUSED = "user name or password"


@contextmanager
def locked_redis(user: str) -> Iterator[RedisServer]:
    """A server in which `user` has the password `SECOND`, and no other user may do anything with tokens."""
    with running_redis() as server:
        server.run("ACL", "SETUSER", user, "reset", "on", f">{SECOND}", "~*", "&*", "+@all")
        yield server


async def reads(replica: RedisReplica) -> None:
    """Check that the replica is logged in: it can read."""
    assert (await replica.cache.read(KEY)).token is None


async def is_refused(replica: RedisReplica, reason: str = REFUSED) -> None:
    """Check that the replica cannot log in, and neither reports nor shows a password."""
    with pytest.raises(CacheUnavailableError, match=reason) as refused:
        await replica.cache.read(KEY)
    assert refused.value.__suppress_context__
    assert "canary" not in str(refused.value) + repr(replica.events.all)


async def test_user_and_password_outside_the_url() -> None:
    """A user and password from separate settings log in, and a wrong password does not."""
    with locked_redis("broker") as server:
        async with redis_replica(server.url, login=RedisLogin("broker", SECOND)) as replica:
            await reads(replica)
            assert b"user=broker" in server.run("CLIENT", "LIST")
        async with redis_replica(server.url, login=RedisLogin("broker", FIRST)) as replica:
            await is_refused(replica)
        assert "canary" not in repr(RedisLogin("broker", FIRST))


async def test_the_password_file_is_read_for_each_connection(tmp_path: Path) -> None:
    """After a password change on both sides old connections stay and new ones use the new one, without a restart."""
    secret = MountedFolder(tmp_path / "redis", {"password": f"{FIRST}\n"})
    with running_redis() as server:
        server.run("ACL", "SETUSER", "broker", "reset", "on", f">{FIRST}", "~*", "&*", "+@all")
        async with redis_replica(server.url, login=RedisLogin("broker", None, secret / "password")) as replica:
            await reads(replica)
            server.run("ACL", "SETUSER", "broker", "resetpass", f">{SECOND}")
            secret.swap({"password": SECOND})
            await reads(replica)
            server.run("CLIENT", "KILL", "USER", "broker", "SKIPME", "no")
            with pytest.raises(CacheUnavailableError, match="closed the connection"):
                await reads(replica)
            await reads(replica)


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"x" * 5000])
async def test_an_unusable_password_file_is_an_outage_of_redis(tmp_path: Path, content: bytes | None) -> None:
    """A file that is missing, empty, endless or not text costs only the shared cache, and only until it is fixed."""
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with locked_redis("broker") as server:
        async with redis_replica(server.url, login=RedisLogin("broker", None, file)) as replica:
            await is_refused(replica, "BROKER_REDIS_PASSWORD_FILE cannot be read")
            assert replica.events.calls("read") == ["unauthenticated"]
            file.write_text(SECOND)
            await reads(replica)


async def test_an_unusable_password_file_says_nothing_of_redis(tmp_path: Path) -> None:
    """While the circuit is open, a password that cannot be read does not close it: Redis was not asked."""
    file = tmp_path / "password"
    file.write_text(SECOND)
    with locked_redis("broker") as server:
        async with redis_replica(server.url, login=RedisLogin("broker", None, file)) as replica:
            server.kill()
            for _ in range(3):
                await is_refused(replica, "cannot be reached")
            server.start()
            file.unlink()

            async def file_is_asked_for() -> bool:
                with pytest.raises(CacheUnavailableError) as refused:
                    await replica.cache.read(KEY)
                return "BROKER_REDIS_PASSWORD_FILE cannot be read" in str(refused.value)

            await until_answered(file_is_asked_for, 5.0)
            assert replica.client.circuit_is_open


async def test_the_default_user_needs_no_name(tmp_path: Path) -> None:
    """A password without a user is for the Redis default user, as with `requirepass`."""
    file = tmp_path / "password"
    file.write_text(f"{SECOND}\r\n")
    with running_redis() as server:
        server.run("ACL", "SETUSER", "admin", "on", ">admin", "~*", "&*", "+@all")
        server.run("ACL", "SETUSER", "default", "resetpass", f">{SECOND}")
        async with redis_replica(server.url, login=RedisLogin(None, None, file)) as replica:
            await reads(replica)


async def test_two_logins_are_refused() -> None:
    """A URL with a user or password conflicts with a separate login, and the refusal quotes neither."""
    with pytest.raises(ValueError, match="leave out") as refused:
        RedisReplica(f"redis://:{SECOND}@127.0.0.1:1", login=RedisLogin("broker", FIRST))
    assert "canary" not in str(refused.value)
