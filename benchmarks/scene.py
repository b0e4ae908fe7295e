"""What brokers under measurement need: tenants, a policy, an IMS sandbox, Redis; and the brokers themselves."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app.domain.api_key import SECRET_BYTES, api_key_sha256, new_api_key
from app.shared_cache.key_ring import new_key_ring
from benchmarks.servers import LOAD_CORE, SERVER_CORE, Served, free_port, on_core, running
from tests.support.issuer import AUDIENCE, SUBJECT, SigningKey

CLI = (sys.executable, "-m", "app.cli")
ISSUER = "https://issuer.test"


def org(number: int) -> str:
    """The id of a tenant."""
    return f"{number:024X}@AdobeOrg"


class Scene:
    """Tenants with a caller that may have the tokens of all of them, by API key or by JWT, without a tight limit.

    Args:
        folder: The folder of all files.
        orgs: The number of tenants.
        token_lifetime: Seconds; None for a day.

    """

    def __init__(self, folder: Path, orgs: int, token_lifetime: float | None = None) -> None:
        self.folder = folder
        self.key = new_api_key("bench", secrets.token_bytes(SECRET_BYTES))
        self.bearer = f"Authorization: Bearer {self.key}"
        self._issuer_key = SigningKey()
        self._stack = ExitStack()
        self._sandbox_port = free_port()
        self._redis_port: int | None = None
        self._brokers = 0
        self._write_tenants(orgs, token_lifetime)
        self.write_policy()

    def write_policy(self, *orgs: str) -> None:
        """Write the policy: both callers may have the tokens of these orgs, or of all."""
        jwks = self.folder / "jwks.json"
        jwks.write_text(json.dumps({"keys": [self._issuer_key.jwk]}))
        allow, limit = [{"orgs": [*orgs] or ["*"], "credentials": ["default"]}], "1000000/s"
        callers: list[dict[str, object]] = [
            {"name": "bench", "match": {"api_key_sha256": [api_key_sha256(self.key)]}},
            {"name": "bench-jwt", "match": {"issuer": ISSUER, "subject": [SUBJECT]}},
        ]
        document = {
            "version": 1,
            "issuers": [{"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(jwks)}],
            "callers": [{**caller, "rate_limit": limit, "allow": allow} for caller in callers],
        }
        (self.folder / "policy.yaml").write_text(json.dumps(document))

    def jwt(self, seconds: float = 3600.0) -> str:
        """A JWT that proves the caller for so many seconds; negative: that has expired."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "iat": now - 7200, "exp": int(now + seconds)}
        return self._issuer_key.sign({"alg": "RS256", "kid": self._issuer_key.kid, "typ": "JWT"}, claims)

    @property
    def base_url(self) -> str:
        """The URL of the sandbox."""
        return f"http://127.0.0.1:{self._sandbox_port}"

    def start_sandbox(self) -> Served:
        """Start the IMS sandbox, on the core of the load."""
        clients = str(self.folder / "clients.json")
        command = [*CLI, "sandbox", "--port", str(self._sandbox_port), "--clients", clients]
        return self._stack.enter_context(running(command, self._sandbox_port, core=LOAD_CORE))

    def start_redis(self) -> int:
        """Start Redis, on the core of the load; its port. Brokers that start later use it."""
        port = self._redis_port = free_port()
        (self.folder / "keys.json").write_text(new_key_ring(secrets.token_bytes, "k1", "2026-01-01T00:00:00Z"))
        self._stack.enter_context(running_redis(port))
        return port

    def start_broker(self, settings: Mapping[str, str] | None = None) -> Served:
        """Start a broker with all features on, on the core of the server, with further settings."""
        command, environment = self.broker_command(port := free_port())
        return self._stack.enter_context(running(command, port, {**environment, **(settings or {})}, SERVER_CORE))

    def broker_command(self, port: int) -> tuple[list[str], dict[str, str]]:
        """The command that serves a broker on a port, and its whole environment."""
        self._brokers += 1
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BROKER_")},
            "BROKER_PORT": str(port),
            "BROKER_POLICY_FILE": str(self.folder / "policy.yaml"),
            "BROKER_CREDENTIAL_STORE": "directory",
            "BROKER_CREDENTIAL_DIR": str(self.folder / "credentials"),
            "BROKER_IMS_BASE_URLS": self.base_url,
            "BROKER_AUDIT_FILE": str(self.folder / f"audit-{self._brokers}.log"),
            "BROKER_LOG_LEVEL": "WARNING",
        }
        if self._redis_port is not None:
            environment |= {
                "BROKER_REDIS_URL": f"redis://127.0.0.1:{self._redis_port}",
                "BROKER_CACHE_KEYS_FILE": str(self.folder / "keys.json"),
            }
        return [*CLI, "serve"], environment

    def get(self, broker: Served, path: str) -> bytes:
        """The body of the answer to one request of the caller. Raises `urllib.error.HTTPError`."""
        request = urllib.request.Request(broker.url(path), headers={"Authorization": f"Bearer {self.key}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            body: bytes = answer.read()
        return body

    def close(self) -> None:
        """End all servers."""
        self._stack.close()

    def _write_tenants(self, orgs: int, token_lifetime: float | None) -> None:
        clients = []
        for number in range(orgs):
            client = {
                "kind": "oauth_server_to_server",
                "org_id": org(number),
                "client_id": f"client-{number}",
                "client_secrets": [f"secret-{number}"],
                "scopes": ["openid", "AdobeID", "read_organizations"],
            }
            clients.append(client if token_lifetime is None else {**client, "token_lifetime": token_lifetime})
            home = self.folder / "credentials" / org(number)
            home.mkdir(parents=True)
            (home / "default.json").write_text(json.dumps({**client, "ims_base_url": self.base_url}))
        (self.folder / "clients.json").write_text(json.dumps({"clients": clients}))


@contextmanager
def scene(orgs: int = 1, token_lifetime: float | None = None) -> Iterator[Scene]:
    """A scene with a sandbox that runs, in a folder of its own, until the context ends."""
    with tempfile.TemporaryDirectory() as folder:
        made = Scene(Path(folder), orgs, token_lifetime)
        try:
            made.start_sandbox()
            yield made
        finally:
            made.close()


@contextmanager
def running_redis(port: int) -> Iterator[int]:
    """A Redis without persistence on the core of the load; its process id."""
    options = ["--port", str(port), "--save", "", "--bind", "127.0.0.1", "--loglevel", "warning"]
    with on_core(LOAD_CORE):
        process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 10
        while b"PONG" not in redis_cli(port, "ping"):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("Redis did not start.")
            time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def redis_cli(port: int, *command: str) -> bytes:
    """What ``redis-cli`` prints; empty if it cannot connect."""
    done = subprocess.run(["redis-cli", "-p", str(port), *command], capture_output=True, check=False, timeout=10)
    return done.stdout
