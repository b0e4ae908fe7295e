"""The documented rights in Vault and Redis are enough, and each of them is needed."""

from __future__ import annotations

import asyncio
import itertools
import re
import shlex
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any, cast

import pytest
from redis.crc import key_slot

from app.adapters.redis import RedisClient, RedisExchangeBudget, RedisLimitShares, RedisLogin
from app.adapters.vault import VaultConfig, VaultCredentialStore, VaultSession, VaultTransitSigner
from app.adapters.vault.login import log_in, look_up, renew
from app.adapters.vault.vault_problem import VaultProblemError
from app.domain.credential import JwtCredential
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.errors import BrokerError
from app.domain.learned_rate import BudgetKey
from app.shared_cache.key_names import KeyNames
from tests.support.cached_tokens import KEY, REF, token_of
from tests.support.cluster_redis import RedisCluster, running_cluster
from tests.support.documents import ALLOWED, jwt_document, oauth_document, ref_of, without
from tests.support.fenced import fenced, vault_write
from tests.support.recorded_events import RecordedEvents
from tests.support.redis_broker import RedisReplica, redis_replica
from tests.support.redis_server import RedisServer, running_redis
from tests.support.repository import ROOT
from tests.support.sentinel_redis import running_sentinels
from tests.support.vault_server import MOUNT, PREFIX, VaultServer

DOCUMENT = "least-privilege.md"
NAME = "ims-token-broker"
PLAIN, SIGNED = ref_of(0xE0001), ref_of(0xE0002)
TRANSIT_KEY = "least-privilege"

_POLICY_LINES = fenced(DOCUMENT, "vault-policy").splitlines()
_ACL = shlex.split(fenced(DOCUMENT, "redis-acl").replace(">PASSWORD", ">secret"))
_SENTINEL_ACL = shlex.split(fenced(DOCUMENT, "sentinel-acl").replace(">PASSWORD", ">asks"))
_CLUSTER_ACL = shlex.split(fenced(DOCUMENT, "cluster-acl").replace(">PASSWORD", ">secret"))
_ACL_RULES = _ACL[2:]
_COMMANDS = [rule[1:] for rule in _ACL_RULES if rule.startswith("+")]

_numbers = itertools.count()


def test_every_page_shows_the_same_rights() -> None:
    """The rights in Vault that the README and the guide for Kubernetes show are lines of the least-privilege page."""
    shown = [
        line
        for page in ("README.md", "docs/kubernetes.md")
        for line in _rights((ROOT / page).read_text())
        if not line[0].startswith("auth/")
    ]
    assert len(shown) >= 6
    assert [line for line in shown if line not in _rights("\n".join(_POLICY_LINES))] == []


def _rights(text: str) -> list[tuple[str, str]]:
    return re.findall(r'^ *path "([^"]+)" *\{ capabilities = (\[[^]]+\]) \}', text, re.MULTILINE)


# Vault --------------------------------------------------------------------------------------------------------------


class VaultPolicyTrial:
    """What the broker does in Vault, with one policy.

    Args:
        server: Vault.
        policy: The policy's text.

    """

    def __init__(self, server: VaultServer, policy: str) -> None:
        self._server = server
        self._policy = f"least-{next(_numbers)}"
        server.write(f"sys/policies/acl/{self._policy}", policy=policy)

    async def failures(self) -> list[str]:
        """The operations that fail."""
        token = self._server.token(self._policy, no_default_policy=True)
        session = VaultSession(VaultConfig(addr=self._server.addr, token=token), RecordedEvents())
        store = VaultCredentialStore(session, MOUNT, PREFIX, ALLOWED)
        failed = []
        try:
            for name, work in {
                "read": lambda: store.fetch(PLAIN),
                "list": lambda: self._listed(store),
                "sign": lambda: self._signed(store, session),
                "look up": lambda: self._looked_up(session),
                "renew": self._renewed,
            }.items():
                try:
                    await work()
                except (BrokerError, VaultProblemError, AssertionError):
                    failed.append(name)
        finally:
            await session.aclose()
        return failed

    async def _listed(self, store: VaultCredentialStore) -> None:
        assert {PLAIN, SIGNED} <= set(await store.refs())

    async def _signed(self, store: VaultCredentialStore, session: VaultSession) -> None:
        credential = await store.fetch(SIGNED)
        assert isinstance(credential, JwtCredential)
        await VaultTransitSigner(session, "transit").sign(credential, {"sub": "x"})

    async def _looked_up(self, session: VaultSession) -> None:
        lifetime, _ = await session.call("lookup", look_up)
        assert lifetime > 0

    async def _renewed(self) -> None:
        """Log in by AppRole, as documented, but with this policy."""
        role = {name: value for name, value in _role("approle").items() if name != "token_policies"}
        role_id, secret_id = self._server.approle(self._policy, self._policy, **role)
        config = VaultConfig(addr=self._server.addr, auth="approle", role_id=role_id, secret_id=secret_id)
        access = await asyncio.to_thread(log_in, config, time.monotonic)
        try:
            assert access.renewable
            await asyncio.to_thread(renew, access, time.monotonic)
        finally:
            access.adapter.close()


def _role(method: str) -> dict[str, str]:
    """The documented role of an auth method."""
    return vault_write(DOCUMENT, "vault-roles", f"auth/{method}/role/{NAME}")


@pytest.fixture(scope="module")
def vault(vault_server: VaultServer) -> VaultServer:
    """A Vault with a credential of each kind that needs different rights."""
    vault_server.transit_key(TRANSIT_KEY)
    vault_server.put(PLAIN.org, PLAIN.name, oauth_document(PLAIN))
    document = {**without(jwt_document(SIGNED), "private_key"), "transit_key": TRANSIT_KEY}
    vault_server.put(SIGNED.org, SIGNED.name, document)
    return vault_server


async def test_the_policy_is_enough(vault: VaultServer) -> None:
    """Reading, listing, signing, looking up and renewing work with the documented policy alone."""
    assert await VaultPolicyTrial(vault, "\n".join(_POLICY_LINES)).failures() == []


@pytest.mark.parametrize(
    ("line", "fails"),
    list(zip(_POLICY_LINES, [["read", "sign"], ["list"], ["sign"], ["renew"], ["look up"]], strict=True)),
    ids=lambda value: value.split('"')[1] if isinstance(value, str) else "",
)
async def test_every_line_of_the_policy_is_needed(vault: VaultServer, line: str, fails: list[str]) -> None:
    """Without a line of the policy exactly the operation that needs it fails."""
    assert (
        await VaultPolicyTrial(vault, "\n".join(other for other in _POLICY_LINES if other is not line)).failures()
        == fails
    )


def test_no_line_of_the_policy_has_two_capabilities() -> None:
    """Each line has one capability, so that every capability is tested separately."""
    for line in _POLICY_LINES:
        assert re.search(r'capabilities = \["\w+"\]', line), line


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (f"{MOUNT}/data/{PREFIX}/{PLAIN.org}/{PLAIN.name}", {"data": {}}),
        (f"{MOUNT}/data/other/x", None),
        (f"{MOUNT}/metadata/{PREFIX}/{PLAIN.org}/{PLAIN.name}", None),
        (f"transit/keys/{TRANSIT_KEY}", None),
        (f"transit/sign/{TRANSIT_KEY}/sha1", {"input": "YQ=="}),
        (f"transit/export/signing-key/{TRANSIT_KEY}", None),
        ("sys/policies/acl", None),
        ("auth/token/create", {}),
    ],
)
def test_the_policy_allows_nothing_else(vault: VaultServer, path: str, data: dict[str, object] | None) -> None:
    """Writing, reading elsewhere, and anything else with a transit key are denied."""
    vault.write("sys/policies/acl/least-nothing-else", policy="\n".join(_POLICY_LINES))
    token = vault.token("least-nothing-else", no_default_policy=True)
    assert vault.status_as(token, path, data) == 403


def test_the_roles_are_as_documented(vault: VaultServer) -> None:
    """Both roles leave out the default policy, and a role without its policy would grant nothing."""
    for method in ("approle", "kubernetes"):
        role = _role(method)
        assert (role["token_policies"], role["token_no_default_policy"]) == (NAME, "true")
    vault.write(f"auth/approle/role/{NAME}", **_role("approle"))
    role_id = vault.read(f"auth/approle/role/{NAME}/role-id")["data"]["role_id"]
    secret_id = vault.write(f"auth/approle/role/{NAME}/secret-id")["data"]["secret_id"]
    login = vault.write("auth/approle/login", role_id=role_id, secret_id=secret_id)["auth"]
    assert (login["policies"], login["lease_duration"], login["renewable"]) == ([NAME], 3600, True)


# Redis --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A Redis with the documented user."""
    with running_redis(acl=["user default on nopass ~* &* +@all", " ".join(_ACL)]) as server:
        yield server


async def _hears_purges(replica: RedisReplica) -> None:
    purges = cast("AsyncGenerator[object, None]", replica.purge_log.purges())
    async with aclosing(purges):
        heard = asyncio.ensure_future(anext(purges))
        try:
            await asyncio.wait({heard}, timeout=0.1)  # it listens for purges from now on
            await replica.purge_log.raise_epoch(REF, 0)
            await asyncio.wait_for(asyncio.shield(heard), 2)
        finally:
            heard.cancel()
            await asyncio.gather(heard, return_exceptions=True)


async def _leases(replica: RedisReplica) -> None:
    holder = await replica.lease.acquire(KEY)
    assert holder is not None
    await replica.lease.renew(KEY, holder)
    await replica.lease.release(KEY, holder)


async def _replaces(replica: RedisReplica) -> None:
    await replica.cache.claim_replacement(REF, 60)
    await replica.cache.return_replacement(REF)


async def _comes_back_after_idling(replica: RedisReplica) -> None:
    await replica.cache.read(KEY)
    _age(replica.client)
    await replica.cache.read(KEY)


def _age(client: RedisClient) -> None:
    """Make the connections in the pool look idle for a long time."""
    route: Any = client._route
    for pools in route._nodes.values() if client.is_cluster else [route.pools]:
        for connection in pools.calls.connection_pool._available_connections:
            connection.next_health_check = 0


OPERATIONS: dict[str, Callable[[RedisReplica], Awaitable[object]]] = {
    "read": lambda replica: replica.cache.read(KEY),
    "store": lambda replica: replica.cache.store(token_of(minted_at=time.time())),
    "read again": lambda replica: replica.cache.read(KEY),
    "hold": lambda replica: replica.cache.hold(REF, 60),
    "epochs": lambda replica: replica.purge_log.epochs([REF]),
    "restore epoch": lambda replica: replica.purge_log.restore_epoch(REF, 7),
    "leases": _leases,
    "budget": lambda replica: RedisExchangeBudget(replica.client).take(BudgetKey("x", "y"), was_refused=False),
    "limits": lambda replica: RedisLimitShares(replica.client).lease("one", {}),
    "replaces": _replaces,
    "purges": _hears_purges,
    "idles": _comes_back_after_idling,
}


async def failures(server: RedisServer) -> list[str]:
    """The operations that fail for a replica that starts with an empty Redis."""
    server.flush()
    server.run("SCRIPT", "FLUSH")
    return await _failures_at(server.url_as(NAME, "secret"))


async def _failures_at(url: str, sentinel_login: RedisLogin | None = None) -> list[str]:
    failed = []
    for name, operation in OPERATIONS.items():
        async with redis_replica(url, sentinel_login=sentinel_login) as replica:
            try:
                await operation(replica)
            except (CacheUnavailableError, TimeoutError):
                failed.append(name)
            failed += [f"{name}: denied"] if "forbidden" in _outcomes(replica) and name not in failed else []
    return failed


def _outcomes(replica: RedisReplica) -> set[str]:
    return {getattr(event, "outcome", "") for event in replica.events.all}


async def test_the_acl_is_enough(redis: RedisServer) -> None:
    """Reads, writes, purges, purge notifications, leases, back-offs and replacements work as the documented user."""
    assert await failures(redis) == []


@pytest.mark.parametrize("command", _COMMANDS)
async def test_every_command_is_needed(redis: RedisServer, command: str) -> None:
    """Without any one command an operation of the broker fails."""
    redis.run("ACL", "SETUSER", NAME, f"-{command}")
    try:
        assert await failures(redis) != []
    finally:
        redis.run("ACL", "SETUSER", NAME, f"+{command}")


async def test_the_user_reaches_only_the_brokers_keys(redis: RedisServer) -> None:
    """Without the key pattern nothing works; with it the user can access no other keys, and no channels."""
    redis.run("ACL", "SETUSER", NAME, "resetkeys")
    try:
        assert set(OPERATIONS) <= set(await failures(redis))
    finally:
        redis.run("ACL", "SETUSER", NAME, "~itb:*")
    for forbidden in (("GET", "other"), ("SET", "other", "1"), ("KEYS", "*"), ("FLUSHALL",), ("PUBLISH", "c", "x")):
        assert b"permissions" in redis.run("ACL", "DRYRUN", NAME, *forbidden)


async def test_sentinels_need_one_command() -> None:
    """Behind Sentinels the same user of Redis is enough with the documented user of the Sentinels, and needs that."""
    users = ["user default on nopass ~* &* +@all"]
    with running_sentinels(None, [*users, " ".join(_ACL)], [*users, " ".join(_SENTINEL_ACL)]) as group:
        url, login = group.url_as(NAME, "secret"), RedisLogin(NAME, "asks")
        assert await _failures_at(url, login) == []
        for sentinel in group.sentinels:
            [command] = [rule[1:] for rule in _SENTINEL_ACL if rule.startswith("+")]
            for forbidden in (("SENTINEL", "MASTERS"), ("SENTINEL", "RESET", "*"), ("PING",)):
                assert b"permissions" in sentinel.run("ACL", "DRYRUN", NAME, *forbidden)
            sentinel.run("ACL", "SETUSER", NAME, f"-{command}")
        assert set(OPERATIONS) <= set(await _failures_at(url, login))


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """A cluster with the documented user."""
    with running_cluster(None, ["user default on nopass ~* &* +@all", " ".join(_CLUSTER_ACL)]) as running:
        yield running


async def _failures_in(cluster: RedisCluster) -> list[str]:
    cluster.flush()
    for node in cluster.nodes:
        node.run("SCRIPT", "FLUSH")
    url = cluster.url_as(NAME, "secret")
    failed = await _failures_at(url)
    name = KeyNames().token(KEY)
    old, new = cluster.owner(name), cluster.migrate(name, end=False)
    async with redis_replica(url, timeout=2.0) as replica:
        try:
            await replica.lease.acquire(KEY)
        except CacheUnavailableError:
            failed.append("half moved")
    cluster.finish(key_slot(name.encode()), old, new)
    return failed


async def test_the_acl_of_a_cluster_is_enough(cluster: RedisCluster) -> None:
    """Everything that the broker does works in a cluster as its documented user, also while a slot is moved."""
    assert await _failures_in(cluster) == []
    assert set(_CLUSTER_ACL) - set(_ACL) == {"+cluster|slots", "+asking"}


@pytest.mark.parametrize("command", ["cluster|slots", "asking"])
async def test_what_a_cluster_needs_besides(cluster: RedisCluster, command: str) -> None:
    """Without a command that is for clusters alone something fails."""
    for node in cluster.nodes:
        node.run("ACL", "SETUSER", NAME, f"-{command}")
    try:
        assert await _failures_in(cluster) != []
    finally:
        for node in cluster.nodes:
            node.run("ACL", "SETUSER", NAME, f"+{command}")


async def test_the_table_names_the_commands() -> None:
    """The document says what each command is for."""
    table = (ROOT / "docs" / DOCUMENT).read_text().partition("| command |")[2]
    assert [command for command in _COMMANDS if f"`{command}`" not in table] == []
