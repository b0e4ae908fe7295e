"""``doctor`` in set-ups that are broken in one place: that check fails, and no other one does."""

from __future__ import annotations

import json
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.bootstrap.diagnosis import diagnose
from app.diagnosis import Checked
from app.settings.settings import read_settings
from app.shared_cache.key_ring import new_key_ring
from tests.support.children import free_port
from tests.support.documents import CANARY
from tests.support.ims_server import answering, http_answer, run_raw, run_sandbox
from tests.support.issuer import AUDIENCE, SUBJECT, LocalIssuer, SigningKey, local_issuer
from tests.support.processes import run_cli
from tests.support.recorded_events import RecordedEvents
from tests.support.redis_server import RedisServer, running_redis
from tests.support.tls import server_tls
from tests.support.vault_server import VaultServer

_COMMANDS = "+mget +get +set +del +exists +type +pttl +pexpire +eval +evalsha +xadd +xread +xrange +xrevrange +ping"
_USER = f"on >{CANARY} resetchannels ~itb:* -@all {_COMMANDS} +info"

_POLICY = (
    ("secret/data/ims/*", "read"),
    ("secret/metadata/ims/*", "list"),
    ("transit/sign/+", "update"),
    ("auth/token/renew-self", "update"),
    ("auth/token/lookup-self", "read"),
)


@dataclass
class SetUp:
    """A set-up that works, to be broken.

    Args:
        folder: Its files.
        vault: Its Vault.
        redis: Its Redis.
        ims: The URL of its sandbox.
        env: Its variables.

    """

    folder: Path
    vault: VaultServer
    redis: RedisServer
    ims: str
    env: dict[str, str] = field(default_factory=dict)

    def file(self, name: str, text: str, mode: int = 0o600) -> str:
        """A file that only its owner can read unless `mode` says otherwise; its path."""
        file = self.folder / name
        file.write_text(text)
        file.chmod(mode)
        return str(file)

    def policy(self, jwks_url: str, issuer: str) -> str:
        """A policy with one issuer and one caller; its path."""
        caller = {"name": "export", "match": {"issuer": issuer, "subject": SUBJECT}, "allow": [{"orgs": ["*"]}]}
        trusted = {"issuer": issuer, "audience": AUDIENCE, "jwks_url": jwks_url}
        return self.file("policy.yaml", json.dumps({"version": 1, "issuers": [trusted], "callers": [caller]}))

    def token(self, *rules: tuple[str, str]) -> str:
        """A Vault token with these rules alone."""
        name = f"doctor-{secrets.token_hex(4)}"
        self.vault.policy(name, *rules)
        return self.vault.token(name, no_default_policy=True, period="24h")

    async def diagnose(self, timeout: float = 5.0) -> dict[str, Checked]:
        """The results by the name of the check."""
        found = await diagnose(read_settings(self.env), RecordedEvents(), time.time, timeout)
        return {each.name.partition(" http")[0]: each for each in found}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A Redis with the documented user, who may also ask what kind of server it is."""
    with running_redis(acl=["user default on nopass ~* &* +@all", f"user broker {_USER}"]) as server:
        yield server


@pytest.fixture(scope="module")
def issuer() -> Iterator[LocalIssuer]:
    """An issuer with one key."""
    with local_issuer(SigningKey("elliptic", "ES256")) as running:
        yield running


@pytest.fixture
async def works(
    vault_server: VaultServer, redis: RedisServer, issuer: LocalIssuer, tmp_path: Path
) -> AsyncIterator[SetUp]:
    """A set-up in which everything works."""
    async with run_sandbox() as sandbox:
        made = SetUp(tmp_path, vault_server, redis, sandbox.base_url)
        ring = new_key_ring(secrets.token_bytes, "a1", "2026-01-01T00:00:00Z")
        made.env = {
            "BROKER_VAULT_ADDR": vault_server.addr,
            "BROKER_VAULT_TOKEN": made.token(*_POLICY),
            "BROKER_REDIS_URL": redis.url_as("broker", CANARY),
            "BROKER_CACHE_KEYS_FILE": made.file("ring.json", ring),
            "BROKER_POLICY_FILE": made.policy(issuer.url, issuer.name),
            "BROKER_IMS_BASE_URLS": sandbox.base_url,
        }
        yield made


def _failed(found: Mapping[str, Checked]) -> list[str]:
    return [name for name, each in found.items() if each.finding.status == "failed"]


def _closed() -> str:
    return f"http://127.0.0.1:{free_port()}"


async def test_all_is_well_where_all_is_well(works: SetUp) -> None:
    """A set-up with the documented rights has no failure and no skipped check."""
    found = await works.diagnose()
    assert {name: each.finding for name, each in found.items() if each.finding.status in {"failed", "skipped"}} == {}
    assert found["vault policy"].finding.status == "ok", found["vault policy"]
    assert found["ims"].finding.detail == "It answers (the sandbox); the clocks agree within 1 s."


Break = Callable[[SetUp], Mapping[str, str]]

BROKEN: dict[str, tuple[Break, str, str]] = {
    "no Vault there": (lambda _: {"VAULT_ADDR": _closed()}, "vault", "cannot be reached"),
    "another server": (lambda it: {"VAULT_ADDR": it.ims}, "vault", "does not answer like Vault"),
    "a token that ended": (lambda _: {"VAULT_TOKEN": f"hvs.{CANARY}"}, "vault login", "refuses the broker's login"),
    "the version of KV": (lambda _: {"VAULT_KV_VERSION": "1"}, "vault mount", "set BROKER_VAULT_KV_VERSION=2"),
    "no such mount": (lambda _: {"VAULT_MOUNT": "elsewhere"}, "vault mount", "no such mount"),
    "a policy for another path": (
        lambda it: {"VAULT_TOKEN": it.token(("secret/data/other/*", "read"), *_POLICY[1:])},
        "vault policy",
        "does not let the broker read",
    ),
    "no Redis there": (lambda _: {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}, "redis", "Redis"),
    "the password of Redis": (
        lambda it: {"REDIS_URL": it.redis.url_as("broker", "x")},
        "redis",
        "refuses the broker's",
    ),
    "no such database": (lambda it: {"REDIS_URL": it.redis.url_as("broker", CANARY, database=99)}, "redis", "select"),
    "no IMS there": (lambda _: {"IMS_BASE_URLS": _closed()}, "ims", "the connection was refused"),
    "an issuer that is away": (lambda it: {"POLICY_FILE": it.policy(_closed(), "https://away")}, "issuer", "Its keys"),
    "a policy that is not one": (
        lambda it: {"POLICY_FILE": it.file("bad.yaml", "callers: 1")},
        "policy",
        "POLICY_FILE",
    ),
    "no policy": (lambda it: {"POLICY_FILE": str(it.folder / "none.yaml")}, "policy", "cannot be read"),
    "a key ring that is not one": (lambda it: {"CACHE_KEYS_FILE": it.file("r.json", "{}")}, "key ring", "must be"),
    "no directory": (
        lambda it: {"CREDENTIAL_STORE": "directory", "CREDENTIAL_DIR": str(it.folder / "none")},
        "credential directory",
        "directory cannot be read",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_the_right_check_fails(works: SetUp, name: str) -> None:
    """A set-up that is broken in one place fails in that check alone, says why and what to do, and tells no secret."""
    change, check, words = BROKEN[name]
    works.env |= {f"BROKER_{variable}": value for variable, value in change(works).items()}

    found = await works.diagnose()

    assert _failed(found) == [check], found
    assert words in found[check].finding.detail
    assert found[check].finding.remedy
    assert CANARY not in repr(found)


async def test_a_sealed_vault_is_named(works: SetUp) -> None:
    """A sealed Vault fails in its first check, and the others of Vault are skipped with the reason."""
    works.vault.seal()
    try:
        found = await works.diagnose()
    finally:
        works.vault.unseal()
    assert _failed(found) == ["vault"]
    assert found["vault login"].finding.detail == "The check vault failed."
    assert found["vault mount"].finding.detail == "The check vault login was skipped."


@pytest.mark.parametrize("command", ["evalsha", "xadd", "del", "pexpire"])
async def test_a_command_that_the_acl_lacks_is_named(works: SetUp, command: str) -> None:
    """A Redis user without one command fails in the check of commands, which names it."""
    works.redis.run("ACL", "SETUSER", "broker", f"-{command}")
    try:
        found = await works.diagnose()
    finally:
        works.redis.run("ACL", "SETUSER", "broker", f"+{command}")
    assert _failed(found) == ["redis commands"]
    assert f"the command {command};" in found["redis commands"].finding.detail


async def test_a_replica_of_redis_is_named(works: SetUp) -> None:
    """A read-only replica fails as such."""
    works.redis.run("REPLICAOF", "127.0.0.1", str(free_port()))
    try:
        found = await works.diagnose()
    finally:
        works.redis.run("REPLICAOF", "NO", "ONE")
    assert _failed(found) in (["redis"], ["redis server"])


async def test_an_untrusted_certificate_of_ims_is_named(works: SetUp, tmp_path: Path) -> None:
    """A host whose certificate is not trusted fails, with the variable to set."""
    tls: ssl.SSLContext = server_tls(tmp_path / "tls")
    async with run_raw(answering(http_answer()), tls) as raw:
        works.env["BROKER_IMS_BASE_URLS"] = raw.base_url
        found = await works.diagnose()
    assert _failed(found) == ["ims"]
    assert "BROKER_IMS_CACERT" in found["ims"].finding.remedy


async def test_too_many_rights_are_a_warning(works: SetUp) -> None:
    """A root token and a key ring that others can read work, and are warnings."""
    works.env["BROKER_VAULT_TOKEN"] = works.vault.root_token
    works.file("ring.json", (works.folder / "ring.json").read_text(), mode=0o644)
    found = await works.diagnose()
    assert _failed(found) == []
    warned = {name for name, each in found.items() if each.finding.status == "warning"}
    assert {"vault login", "vault policy", "file permissions"} <= warned
    assert found["file permissions"].finding.detail.endswith(": BROKER_CACHE_KEYS_FILE.")


async def test_a_check_that_hangs_holds_up_no_other(works: SetUp) -> None:
    """A frozen Redis fails within the deadline, and all other checks succeed."""
    with works.redis.frozen():
        found = await works.diagnose(timeout=1.0)
    assert _failed(found) == ["redis"]
    assert found["redis"].seconds < 2


async def test_the_command_says_it_in_lines_and_in_json(works: SetUp) -> None:
    """The command prints a line for each check, or one object, and its exit code says whether all is well."""
    good = await run_cli("doctor", env=works.env)
    assert good.code == 0, good
    assert "✓ vault: " in good.stdout
    assert "\x1b" not in good.stdout

    bad = await run_cli("doctor", "--json", env={**works.env, "BROKER_IMS_BASE_URLS": _closed()})
    report = json.loads(bad.stdout)
    assert (bad.code, report["ok"], set(report)) == (1, False, {"ok", "checks"})
    assert {tuple(check) for check in report["checks"]} == {("name", "status", "detail", "remedy", "seconds")}

    wrong = await run_cli("doctor", "--json", env={**works.env, "BROKER_NO_SUCH": "1"})
    assert (wrong.code, json.loads(wrong.stdout)["checks"][0]["name"]) == (2, "settings")
    assert CANARY not in good.stdout + bad.stdout + wrong.stdout
