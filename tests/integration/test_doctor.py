"""``doctor`` in set-ups that are broken in one place: that check fails, and no other one does."""

from __future__ import annotations

import json
import re
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from app.bootstrap.diagnosis import diagnose
from app.diagnosis import Checked
from app.domain.rfc3339 import rfc3339
from app.settings.settings import read_settings
from app.shared_cache.key_ring import new_key_ring
from tests.support.children import free_port
from tests.support.documents import CANARY
from tests.support.egress_proxy import running_proxy
from tests.support.http_stand_in import ReceivedRequest, ScriptedReply, stand_in
from tests.support.ims_server import AcceptedConnection, answering, http_answer, run_raw, run_sandbox
from tests.support.issuer import AUDIENCE, SUBJECT, LocalIssuer, SigningKey, local_issuer
from tests.support.processes import run_cli
from tests.support.recorded_events import RecordedEvents
from tests.support.redis_server import RedisServer, running_redis
from tests.support.sentinel_redis import SentinelGroup
from tests.support.terminal import run_in_terminal
from tests.support.tls import server_tls
from tests.support.vault_server import VaultServer

_COMMANDS = (
    "+mget +getrange +set +del +exists +type +pttl +pexpire +eval +evalsha +time +xadd +xread +xrange +xrevrange +ping"
)
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

    def policy(self, jwks_url: str, issuer: str, *, rule: Mapping[str, object] | None = None, **more: object) -> str:
        """A policy with one issuer, with `more` fields, and one caller, with more in its `rule`; its path."""
        allow = [{"orgs": ["*"], **(rule or {})}]
        caller = {"name": "export", "match": {"issuer": issuer, "subject": SUBJECT}, "allow": allow}
        trusted = {"issuer": issuer, "audience": AUDIENCE, "jwks_url": jwks_url, **more}
        return self.file("policy.yaml", json.dumps({"version": 1, "issuers": [trusted], "callers": [caller]}))

    def token(self, *rules: tuple[str, str]) -> str:
        """A Vault token with these rules alone."""
        name = f"doctor-{secrets.token_hex(4)}"
        self.vault.policy(name, *rules)
        return self.vault.token(name, no_default_policy=True, period="24h")

    async def diagnose(self, timeout: float = 5.0, clock: Callable[[], float] = time.time) -> dict[str, Checked]:
        """The results by the name of the check."""
        found = await diagnose(read_settings(self.env), RecordedEvents(), clock, timeout)
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


def _always(answer: ScriptedReply, _: ReceivedRequest) -> ScriptedReply:
    return answer


def _closed() -> str:
    return f"http://127.0.0.1:{free_port()}"


async def test_all_is_well_where_all_is_well(works: SetUp) -> None:
    """A set-up with the documented rights has no failure and no skipped check."""
    found = await works.diagnose()
    assert {name: each.finding for name, each in found.items() if each.finding.status in {"failed", "skipped"}} == {}
    assert found["vault policy"].finding.status == "ok", found["vault policy"]
    assert (found["ims"].finding.detail, found["clock"].finding.detail) == (
        "It answers (the sandbox).",
        "It agrees with that of IMS within 1 s.",
    )


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


@pytest.mark.parametrize("name", ["no Vault there", "no Redis there"])
async def test_what_cannot_be_reached_has_the_network_in_its_remedy(works: SetUp, name: str) -> None:
    """The remedy of a dependency that cannot be reached names its setting and the network path to it."""
    change, check, _ = BROKEN[name]
    works.env |= {f"BROKER_{variable}": value for variable, value in change(works).items()}

    remedy = (await works.diagnose())[check].finding.remedy

    assert ("BROKER_" in remedy, "the network path to it" in remedy) == (True, True), remedy


async def test_a_sealed_vault_is_named(works: SetUp) -> None:
    """A sealed Vault fails in its first check, and the others of Vault are skipped with the reason."""
    works.vault.seal()
    try:
        found = await works.diagnose()
    finally:
        works.vault.unseal()
    assert _failed(found) == ["vault"]
    assert found["vault login"].finding.detail == "Skipped, because the check vault failed."
    assert found["vault mount"].finding.detail == "Skipped, because the check vault login was skipped."


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


@pytest.mark.parametrize(
    ("ahead", "status", "words"),
    [
        (0, "ok", r"agrees with that of IMS within \d s"),
        (-45, "warning", r"Our clock is 4\d s behind that of IMS\."),
        (600, "failed", r"Our clock is 60\d s ahead of that of IMS\."),
    ],
)
async def test_the_clock_has_a_line_of_its_own(works: SetUp, ahead: float, status: str, words: str) -> None:
    """A clock that differs by more than 30 s is a warning, by more than 60 s a failure, and of this check alone."""
    found = await works.diagnose(clock=lambda: time.time() + ahead)
    assert found["clock"].finding.status == status, found["clock"]
    assert re.search(words, found["clock"].finding.detail), found["clock"]
    assert _failed(found) == (["clock"] if status == "failed" else [])


async def test_without_ims_the_clock_is_not_judged(works: SetUp) -> None:
    """A host that hangs fails in its own line, and the clock is skipped; another host that answers is enough."""
    async with run_raw(hang) as raw:
        works.env["BROKER_IMS_BASE_URLS"] = raw.base_url
        alone = await works.diagnose(timeout=1.0)
        works.env["BROKER_IMS_BASE_URLS"] = f"{raw.base_url},{works.ims}"
        both = await works.diagnose(timeout=1.0)
    assert (_failed(alone), alone["clock"].finding.status) == (["ims"], "skipped")
    assert both["clock"].finding.status == "ok"


async def hang(connection: AcceptedConnection) -> None:
    """Read the request and answer nothing."""
    await connection.request()
    await connection.gone()


async def test_a_rule_that_ends_soon_is_a_warning(works: SetUp, issuer: LocalIssuer) -> None:
    """A rule whose end is near is a warning that names the command which lists it; a later end is not."""
    statuses = []
    for days in (5, 50):
        rule = {"not_after": rfc3339(time.time() + days * 86400)}
        works.env["BROKER_POLICY_FILE"] = works.policy(issuer.url, issuer.name, rule=rule)
        found = await works.diagnose()
        statuses.append(found["policy"].finding.status)
        if days == 5:
            assert "ends within 14 days" in found["policy"].finding.detail
            assert "policy review" in found["policy"].finding.remedy
    assert statuses == ["warning", "ok"]


async def test_a_proxy_that_refuses_is_named(works: SetUp, tmp_path: Path) -> None:
    """If the proxy wants a login that it is not given, the checks that go through it fail, and say that it refuses."""
    with running_proxy(tmp_path / "proxy") as proxy:
        proxy.start(login=("broker", "another"))
        tls = server_tls(tmp_path / "tls")
        async with run_raw(answering(http_answer()), tls) as raw:
            works.env |= {"BROKER_IMS_BASE_URLS": raw.base_url.replace("127.0.0.1", "ims.example")}
            works.env |= {"BROKER_PROXY_URL": proxy.url, "BROKER_NO_PROXY": "127.0.0.1"}
            found = await works.diagnose()
    assert _failed(found) == ["ims"], found
    assert "407" in found["ims"].finding.detail or "login" in found["ims"].finding.detail
    assert "BROKER_PROXY" in found["ims"].finding.detail + found["ims"].finding.remedy


REVIEWED = json.dumps({"kind": "TokenReview", "status": {"authenticated": False}}).encode()


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (http_answer(REVIEWED), "ok", "lets the broker review tokens"),
        (http_answer(b"{}", status="403 Forbidden"), "failed", "does not let the broker review tokens: HTTP 403"),
        (http_answer(b"{}", status="401 Unauthorized"), "failed", "does not let the broker review tokens: HTTP 401"),
        (http_answer(b"{}", status="404 Not Found"), "failed", "does not review tokens: HTTP 404"),
        (http_answer(b"<html>"), "failed", "does not answer with JSON"),
    ],
)
async def test_a_token_review_has_a_line(
    works: SetUp, issuer: LocalIssuer, answer: bytes, status: str, words: str
) -> None:
    """An issuer with a review URL has a line that says whether the API server can be asked and allows it."""
    async with run_raw(answering(answer)) as raw:
        url = f"{raw.base_url}/apis/authentication.k8s.io/v1/tokenreviews"
        works.env["BROKER_POLICY_FILE"] = works.policy(issuer.url, issuer.name, token_review_url=url)
        found = await works.diagnose()
    assert (found["token review"].finding.status, _failed(found)) == (
        status,
        ["token review"] if status == "failed" else [],
    ), found["token review"]
    assert words in found["token review"].finding.detail
    assert b'"token": "doctor"' in raw.requests[0]


async def test_the_brokers_own_token_is_shown_to_the_api_server_alone(works: SetUp, issuer: LocalIssuer) -> None:
    """A refusal names the remedy of its kind: another token for 401, a right for 403. The token is in no line."""
    own = works.file("reviewer", CANARY)
    for status, remedy in ((401, "token_review_token_file"), (403, "create tokenreviews: docs/callers.md")):
        refusal = ScriptedReply(status, {"message": CANARY})
        with stand_in(partial(_always, refusal)) as server:
            works.env["BROKER_POLICY_FILE"] = works.policy(
                issuer.url, issuer.name, token_review_url=server.url, token_review_token_file=own
            )
            found = await works.diagnose()
        assert (_failed(found), remedy in found["token review"].finding.remedy) == (["token review"], True), found
        assert [asked.headers["authorization"] for asked in server.seen] == [f"Bearer {CANARY}"]
        assert CANARY not in repr(found)


async def test_an_api_server_that_is_away_is_named(works: SetUp, issuer: LocalIssuer) -> None:
    """An API server that cannot be reached, or whose token file is missing, fails its line alone."""
    for file, words in (
        (works.file("reviewer", CANARY), "the connection was refused"),
        (str(works.folder / "none"), "token_review_token_file"),
    ):
        works.env["BROKER_POLICY_FILE"] = works.policy(
            issuer.url, issuer.name, token_review_url=_closed(), token_review_token_file=file
        )
        found = await works.diagnose()
        assert _failed(found) == ["token review"]
        assert words in found["token review"].finding.detail


async def test_a_proxy_that_forbids_the_host_is_named(works: SetUp, tmp_path: Path) -> None:
    """If the proxy does not allow the host, the line of IMS says that the proxy refuses, and the clock is skipped."""
    with running_proxy(tmp_path / "proxy") as proxy:
        proxy.start(ports=(1,))
        works.env |= {"BROKER_IMS_BASE_URLS": "https://ims.example", "BROKER_PROXY_URL": proxy.url}
        found = await works.diagnose()
    assert (_failed(found), found["clock"].finding.status) == (["ims"], "skipped")
    assert "403" in found["ims"].finding.detail
    assert "what the proxy allows" in found["ims"].finding.remedy


async def test_without_a_review_url_there_is_no_line_for_it(works: SetUp) -> None:
    """Lines are only for what the settings and the policy ask for."""
    assert not {"token review", "tracing", "egress proxy"} & set(await works.diagnose())


async def test_tracing_without_its_extra_is_named(works: SetUp, tmp_path: Path) -> None:
    """If tracing is on, a line says whether OpenTelemetry is installed, and how to get it."""
    works.env |= {"BROKER_TRACING": "otlp", "OTEL_TRACES_EXPORTER": "otlp"}
    here = await works.diagnose()
    assert here["tracing"].finding.status == "ok"
    # A package of the same name that is not OpenTelemetry stands in for a machine without the extra.
    (tmp_path / "path" / "opentelemetry").mkdir(parents=True)
    (tmp_path / "path" / "opentelemetry" / "__init__.py").write_text("raise ModuleNotFoundError\n")
    missing = await run_cli("doctor", "--json", env={**works.env, "PYTHONPATH": str(tmp_path / "path")})
    lines = {check["name"]: check for check in json.loads(missing.stdout)["checks"]}
    assert (missing.code, lines["tracing"]["status"]) == (1, "failed"), missing
    assert "requirements/otel.lock" in lines["tracing"]["remedy"]


async def test_colours_are_for_a_terminal_that_wants_them(works: SetUp) -> None:
    """At a terminal the marks have colours; with NO_COLOR they have none, and in a pipe nothing is marked up."""
    coloured = await run_in_terminal("doctor", answers={}, env=works.env, cwd=works.folder, within=60)
    plain = await run_in_terminal("doctor", answers={}, env={**works.env, "NO_COLOR": "1"}, cwd=works.folder, within=60)
    piped = await run_cli("doctor", env={**works.env, "TERM": "xterm-256color"})
    assert (coloured.code, plain.code, piped.code) == (0, 0, 0)
    assert "\x1b[32m✓" in coloured.stdout
    assert not [colour for colour in ("\x1b[3", "\x1b[9") if colour in plain.stdout]
    assert "\x1b" not in piped.stdout
    assert "✓ " in plain.stdout


@pytest.mark.parametrize(
    ("topology", "check", "detail"),
    [
        ("own_sentinels", "redis sentinels", "3 of 3 name the primary."),
        ("own_cluster", "redis cluster", "3 primaries answer."),
    ],
)
async def test_each_topology_of_redis_is_checked(
    works: SetUp, request: pytest.FixtureRequest, topology: str, check: str, detail: str
) -> None:
    """Sentinels and the nodes of a cluster are asked one by one, and all checks of Redis work behind them."""
    works.env["BROKER_REDIS_URL"] = request.getfixturevalue(topology).url
    found = await works.diagnose()
    assert _failed(found) == []
    assert (found[check].finding.status, found[check].finding.detail) == ("ok", detail)
    assert found["redis commands"].finding.status == "ok"


async def test_a_sentinel_that_is_away_is_a_warning(works: SetUp, own_sentinels: SentinelGroup) -> None:
    """With one of three Sentinels down the set-up works, and the check says that one does not answer."""
    works.env["BROKER_REDIS_URL"] = own_sentinels.url
    own_sentinels.sentinels[0].kill()
    found = await works.diagnose()
    assert _failed(found) == []
    assert found["redis sentinels"].finding.status == "warning"
    assert found["redis sentinels"].finding.detail.startswith("2 of 3 name the primary.")
