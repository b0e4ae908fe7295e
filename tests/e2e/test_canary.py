"""Promise 5: marked secrets go through every store and every failure, and appear only in the right answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, PrivateFormat

from tests.support.backends import redis_backend, sandbox_backend
from tests.support.fleet import CALLER, Backends, Fleet, running_fleet
from tests.support.issuer import AUDIENCE, SUBJECT, LocalIssuer
from tests.support.keys import new_rsa_key, private_pem
from tests.support.replica import FORM, BrokerProcess
from tests.support.tenants import Tenant, new_secret
from tests.support.vault_server import VaultServer
from tests.support.wire import Reply, exchange, request_bytes

MARK = "cAnArY"
PASSPHRASE = f"{MARK}-passphrase-{secrets.token_hex(8)}"
_SHORTEST = 16
"""Characters. A shorter piece of a secret would be found by chance."""


@pytest.fixture
def marked_fleet(vault_server: VaultServer, tmp_path: Path, issuer: LocalIssuer) -> Iterator[Fleet]:
    """Two replicas that log as much as they can: DEBUG, audit on standard output and chained for the second one."""
    with (
        redis_backend() as redis,
        sandbox_backend(tmp_path) as sandbox,
        running_fleet(Backends(redis, vault_server, sandbox), tmp_path, 0) as fleet,
    ):
        trusted = {"issuer": issuer.name, "audience": AUDIENCE, "jwks_url": issuer.url}
        fleet.policy.issuer(trusted, "export", SUBJECT, {"orgs": ["*"]})
        fleet.start(1, LOG_LEVEL="DEBUG")
        fleet.start(1, LOG_LEVEL="DEBUG", AUDIT_FILE="", AUDIT_CHAIN="true")
        yield fleet


class Ledger:
    """All secrets that were used, and all that was answered."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.tokens: set[str] = set()
        self.errors = b""

    def hide(self, name: str, *values: str) -> None:
        """These must be found nowhere."""
        for number, value in enumerate(values):
            assert len(value) >= _SHORTEST
            self.secrets[f"{name} {number}"] = value

    def note(self, *replies: Reply) -> None:
        """Keep what was answered: the tokens out of good answers, and all the rest whole."""
        for reply in replies:
            self.errors += b"".join(value for _, value in reply.headers if not value.startswith(b"Bearer ey"))
            if reply.status == 200 and b"access_token" in reply.body:
                body = reply.json
                self.tokens.add(body.pop("access_token"))
                self.errors += json.dumps(body).encode()
            elif reply.status == 200 and (bearer := reply.header("authorization")):
                self.tokens.add(bearer.removeprefix("Bearer "))
            else:
                self.errors += reply.body

    def found_in(self, texts: dict[str, bytes]) -> list[tuple[str, str]]:
        """Which secret is found where; a token counts with its signature alone, too."""
        hidden = {name: [value] for name, value in self.secrets.items()}
        for number, token in enumerate(sorted(self.tokens)):
            hidden[f"token {number}"] = [token, *(part for part in token.split(".")[1:] if len(part) >= _SHORTEST)]
        return [
            (name, place)
            for name, values in hidden.items()
            for place, text in texts.items()
            if any(value.encode() in text for value in values)
        ]


async def test_no_secret_is_found_where_it_does_not_belong(marked_fleet: Fleet, issuer: LocalIssuer) -> None:
    """After good traffic and every kind of failure no log, error, metric, audit line or Redis value holds a secret."""
    fleet, ledger = marked_fleet, Ledger()
    _hide_settings(fleet, ledger)
    good = [_marked(fleet, ledger, kind) for kind in ("jwt", "oauth_server_to_server", "enterprise_web_app")]
    jwt = issuer.token()
    ledger.hide("caller's JWT", jwt, jwt.split(".")[2])
    for replica in fleet.replicas:
        for tenant in good:
            await _use_well(replica, tenant, jwt, ledger)
        await _break_tenants(fleet, replica, ledger)
        await _forge(replica, good[0], ledger)
    stored = fleet.redis.contents()
    assert b"itb1;" in stored, "the cache must hold tokens, or looking into it proves nothing"
    assert len(ledger.tokens) >= 3
    await _break_dependencies(fleet, good[0], ledger)

    texts = {"answers": ledger.errors, "Redis before": stored, "Redis after": fleet.redis.contents()}
    for replica in fleet.replicas:
        texts[f"{replica.process.name} metrics"] = (await replica.get("/metrics")).body
        texts[f"{replica.process.name} orgs"] = (await replica.get("/orgs?limit=1000")).body
        texts[f"{replica.process.name} openapi"] = (await replica.get("/openapi.json")).body
        replica.process.terminate()
        assert await asyncio.to_thread(replica.process.ended) == 0
        texts[f"{replica.process.name} stdout"] = replica.process.stdout.read_bytes()
        texts[f"{replica.process.name} stderr"] = replica.process.stderr.read_bytes()
    texts["audit file"] = fleet.replicas[0].audit.read_bytes()
    assert ledger.found_in(texts) == []
    _prove_the_search(texts, ledger)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says the limits of another process")
def test_a_running_broker_keeps_its_memory_to_itself(marked_fleet: Fleet) -> None:
    """The broker writes no core dump, its command line has no secret, and it has no child with its environment."""
    pid = marked_fleet.replicas[0].process.pid
    process = Path(f"/proc/{pid}")
    assert re.search(r"Max core file size +0 +0 ", (process / "limits").read_text())
    arguments = (process / "cmdline").read_text().split("\0")
    assert arguments[1:] == ["-m", "app.cli", "serve", ""]
    assert (process / "task" / str(pid) / "children").read_text() == ""


def _prove_the_search(texts: dict[str, bytes], ledger: Ledger) -> None:
    """The places were really written to, and a secret in any of them would be found."""
    assert b'"outcome":"vended"' in texts["audit file"]
    assert b'"outcome":"vended"' in texts["replica-1 stdout"]
    assert b"dependency called" in texts["replica-0 stderr"], "DEBUG is on"
    assert b"credential_rejected" in texts["answers"]
    token = next(iter(ledger.tokens))
    assert hashlib.sha256(token.encode()).hexdigest()[:16].encode() in texts["audit file"] + texts["replica-1 stdout"]
    for secret in (*ledger.secrets.values(), *ledger.tokens):
        assert ledger.found_in({"leak": b"x" + secret.encode() + b"y"})


def _hide_settings(fleet: Fleet, ledger: Ledger) -> None:
    ring = json.loads(Path(fleet.settings["CACHE_KEYS_FILE"]).read_text())
    ledger.hide("cache key", *(key["key"] for key in ring["keys"]))
    ledger.hide("Redis password", fleet.redis.password)
    ledger.hide("Vault token", fleet.vault_token)
    ledger.hide("API key", fleet.key, fleet.key.split("_", 2)[2])


def _marked(fleet: Fleet, ledger: Ledger, kind: str) -> Tenant:
    """A tenant whose secrets are marked; its private key is encrypted and its secrets are two."""
    plain = new_rsa_key(label=MARK)
    pem = private_pem(plain, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.encode()))
    both = tuple(f"{new_secret()}-{MARK}-{number}" for number in range(2))
    more = {"private_key": pem, "passphrase": PASSPHRASE, "key": _pair(plain)} if kind == "jwt" else {}
    tenant = fleet.tenant(kind=kind, client_secrets=both, known_secrets=both[1:], **more)
    ledger.hide(f"{kind} secret", *both)
    ledger.hide("passphrase", PASSPHRASE)
    ledger.hide("private key", *(line for line in pem.splitlines() if len(line) == 64))
    numbers = plain.private_numbers()
    ledger.hide("private exponent", str(numbers.d)[:40], f"{numbers.d:x}"[:40])
    clear = private_pem(plain, PrivateFormat.TraditionalOpenSSL)
    ledger.hide("decrypted key", *(line for line in clear.splitlines() if len(line) == 64))
    return tenant


def _pair(key: object) -> object:
    from dataclasses import replace

    from tests.support.keys import key_pair, self_signed

    return replace(key_pair(), key=key, certificate=self_signed(key, MARK))  # type: ignore[arg-type]  # an RSA key


async def _use_well(replica: BrokerProcess, tenant: Tenant, jwt: str, ledger: Ledger) -> None:
    reply = await replica.token(tenant.org)
    assert reply.status == 200, reply.body
    digest = hashlib.sha256(reply.json["access_token"].encode()).hexdigest()
    ledger.note(
        reply,
        await replica.token(tenant.org, key=jwt),
        await replica.get(f"/headers?org={tenant.org}"),
        await replica.oauth2(tenant.org, CALLER),
        await replica.report(tenant.org, digest),
        await replica.purge(tenant.org),
        await replica.token(tenant.org),
    )


async def _break_tenants(fleet: Fleet, replica: BrokerProcess, ledger: Ledger) -> None:
    """Every way a tenant can be broken."""
    for kind in ("jwt", "oauth_server_to_server"):
        for fault in ("garbage", "html", "empty", "wrong_unit", "expired_token", "other_client", "other_org"):
            tenant = _marked(fleet, ledger, kind)
            fleet.sandbox.fault(fault, client_id=tenant.client_id)
            ledger.note(await replica.token(tenant.org), await replica.oauth2(tenant.org, CALLER))
        for status in (400, 401, 403, 429, 500, 503):
            tenant = _marked(fleet, ledger, kind)
            fleet.sandbox.fault("status", status=status, client_id=tenant.client_id, retry_after="1")
            ledger.note(await replica.token(tenant.org))
        refused = _marked(fleet, ledger, kind)
        fleet.register(refused.changed(known_secrets=("another-secret-than-the-stored",)))
        ledger.note(await replica.token(refused.org), await replica.oauth2(refused.org, CALLER))
        sound = _marked(fleet, ledger, kind)
        for field in sound.document():
            tenant = _marked(fleet, ledger, kind)
            odd = {**tenant.document(), field: f"{MARK}-{secrets.token_hex(12)}"}
            ledger.hide(f"odd {field}", str(odd[field]))
            fleet.vault.put(tenant.org, "default", odd)
            ledger.note(await replica.token(tenant.org))
        unknown = f"{MARK}-{secrets.token_hex(12)}"
        ledger.hide("unknown field", unknown)
        fleet.vault.put(sound.org, "default", {**sound.document(), unknown: unknown})
        ledger.note(await replica.token(sound.org))
    wrong = _marked(fleet, ledger, "jwt")
    ledger.hide("wrong passphrase", passphrase := f"{MARK}-{secrets.token_hex(12)}")
    fleet.vault.put(wrong.org, "default", {**wrong.document(), "private_key_passphrase": passphrase})
    ledger.note(await replica.token(wrong.org))


async def _forge(replica: BrokerProcess, tenant: Tenant, ledger: Ledger) -> None:
    """Secrets in the wrong places of a request: they must not be echoed either."""
    for number in range(3):
        ledger.hide("misplaced", odd := f"{MARK}-{secrets.token_hex(12)}{number}")
        form = f"grant_type=client_credentials&org={tenant.org}&client_id={odd}&client_secret={odd}".encode()
        ledger.note(
            await replica.token(tenant.org, key=odd),
            await replica.token(tenant.org, key=f"itb_demo_{odd}"),
            await replica.get(f"/token?org={odd}"),
            await replica.get(f"/token?org={tenant.org}&{odd}=1"),
            await replica.get(f"/token?org={tenant.org}&scope={odd}"),
            await replica.get(f"/token?org={tenant.org}&client_secret={odd}"),
            await replica.get(f"/{odd}"),
            await replica.report(tenant.org, odd),
            await exchange(replica.port, request_bytes("POST", "/oauth2/token", [FORM], form)),
            await exchange(replica.port, request_bytes("POST", "/oauth2/token", [], form)),
        )


async def _break_dependencies(fleet: Fleet, tenant: Tenant, ledger: Ledger) -> None:
    """Vault sealed, then forbidden; Redis killed; IMS killed."""
    fleet.vault.seal()
    ledger.note(*[await replica.token(_unknown_org()) for replica in fleet.replicas])
    fleet.vault.unseal()
    fleet.redis.server.kill()
    for replica in fleet.replicas:
        ledger.note(await replica.token(tenant.org), await replica.purge(tenant.org), await replica.token(tenant.org))
    fleet.redis.server.start()
    cold = [_marked(fleet, ledger, "oauth_server_to_server") for _ in fleet.replicas]
    fleet.sandbox.process.kill()
    for replica, other in zip(fleet.replicas, cold, strict=True):
        ledger.note(await replica.token(other.org))
    fleet.vault.revoke(fleet.vault_token)
    ledger.note(*[await replica.token(_unknown_org()) for replica in fleet.replicas])


def _unknown_org() -> str:
    return f"{secrets.token_hex(12).upper()}@AdobeOrg"
