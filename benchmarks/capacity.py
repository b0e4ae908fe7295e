"""The cost of a tenant: memory in a replica and in Redis per token, and how long an empty replica takes to become warm.

    python -m benchmarks.capacity [--orgs 10000] [--connections 16]

A first replica mints every token from the sandbox, a second one finds them in Redis. Both run as ``serve`` with the
directory store and a real ``redis-server``; nothing here says how fast Vault or Adobe are.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.domain.api_key import api_key_sha256, new_api_key
from app.shared_cache.key_ring import new_key_ring
from benchmarks.servers import free_port, wait_for

_CHUNK = 50


@dataclass(frozen=True)
class Cost:
    """What serving all orgs once cost a replica: seconds, and growth of resident memory in bytes."""

    seconds: float
    grown: int


def _org(number: int) -> str:
    return f"{number:024X}@AdobeOrg"


def _write_tenants(folder: Path, orgs: int, base_url: str) -> None:
    clients = []
    for number in range(orgs):
        credential = {
            "kind": "oauth_server_to_server",
            "org_id": _org(number),
            "client_id": f"client-{number}",
            "client_secrets": [f"secret-{number}"],
            "scopes": ["openid", "AdobeID", "read_organizations"],
        }
        clients.append(credential)
        home = folder / "credentials" / _org(number)
        home.mkdir(parents=True)
        (home / "default.json").write_text(json.dumps({**credential, "ims_base_url": base_url}))
    (folder / "clients.json").write_text(json.dumps({"clients": clients}))


@contextmanager
def _running(command: Sequence[str], port: int, environment: dict[str, str], probe: bool = True) -> Iterator[int]:
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    try:
        if probe:
            wait_for(port, process)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _vend(port: int, key: str, numbers: range) -> int:
    """Request the tokens of these orgs on one connection, and return the length of the last token in bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    length = 0
    for number in numbers:
        connection.request("GET", f"/token?org={_org(number)}", headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"The broker answered {answer.status}: {body.decode()}")
        length = len(json.loads(body)["access_token"])
    connection.close()
    return length


def _serve_all(pid: int, port: int, key: str, orgs: int, connections: int, what: str) -> tuple[Cost, int]:
    _vend(port, key, range(1))
    before, start, length = _resident(pid), time.monotonic(), 0
    chunks = [range(first, min(first + _CHUNK, orgs)) for first in range(0, orgs, _CHUNK)]
    with ThreadPoolExecutor(connections) as pool:
        for done, size in enumerate(pool.map(lambda chunk: _vend(port, key, chunk), chunks), 1):
            length = size
            if sys.stderr.isatty():
                print(f"\r{what}: {min(done * _CHUNK, orgs)} of {orgs}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return Cost(time.monotonic() - start, _resident(pid) - before), length


def _redis_bytes(port: int) -> int:
    shown = subprocess.run(
        ["redis-cli", "-p", str(port), "info", "memory"], capture_output=True, text=True, check=True, timeout=10
    ).stdout
    return int(dict(line.split(":", 1) for line in shown.splitlines() if ":" in line)["used_memory"])


def measure(orgs: int, connections: int, folder: Path) -> None:
    """Run everything once and print the table."""
    program = str(Path(sys.executable).parent / "ims-token-broker")
    sandbox_port, redis_port, ports = free_port(), free_port(), (free_port(), free_port())
    base_url, key = f"http://127.0.0.1:{sandbox_port}", new_api_key("bench", secrets.token_bytes(32))
    _write_tenants(folder, orgs, base_url)
    (folder / "policy.yaml").write_text(
        f"version: 1\ncallers:\n  - name: bench\n    match: {{api_key_sha256: ['{api_key_sha256(key)}']}}\n"
        "    allow: [{orgs: ['*']}]\n"
    )
    (folder / "keys.json").write_text(new_key_ring(secrets.token_bytes, "k1", "2026-01-01T00:00:00Z"))
    environment = {
        "BROKER_POLICY_FILE": str(folder / "policy.yaml"),
        "BROKER_CREDENTIAL_STORE": "directory",
        "BROKER_CREDENTIAL_DIR": str(folder / "credentials"),
        "BROKER_IMS_BASE_URLS": base_url,
        "BROKER_AUDIT_FILE": str(folder / "audit.log"),
        "BROKER_REDIS_URL": f"redis://127.0.0.1:{redis_port}",
        "BROKER_CACHE_KEYS_FILE": str(folder / "keys.json"),
    }
    sandbox = [program, "sandbox", "--port", str(sandbox_port), "--clients", str(folder / "clients.json")]
    redis = ["redis-server", "--port", str(redis_port), "--save", "", "--bind", "127.0.0.1", "--loglevel", "warning"]
    with ExitStack() as stack:
        stack.enter_context(_running(redis, redis_port, {}, probe=False))
        stack.enter_context(_running(sandbox, sandbox_port, {}))
        pids = [
            stack.enter_context(_running([program, "serve"], port, {**environment, "BROKER_PORT": str(port)}))
            for port in ports
        ]
        empty, stored = [_resident(pid) for pid in pids], _redis_bytes(redis_port)
        minted, length = _serve_all(pids[0], ports[0], key, orgs, connections, "minting")
        kept = _redis_bytes(redis_port) - stored
        found, _ = _serve_all(pids[1], ports[1], key, orgs, connections, "from Redis")
    print(f"{orgs} orgs, one token of {length} bytes each, {connections} connections")
    print(f"empty replica                     {empty[0] / 1e6:9.1f} MB")
    print(f"replica that minted, per token    {minted.grown / orgs / 1e3:9.2f} kB")
    print(f"replica that read, per token      {found.grown / orgs / 1e3:9.2f} kB")
    print(f"Redis, per token                  {kept / orgs / 1e3:9.2f} kB")
    print(f"all minted (sandbox on same cores) {minted.seconds:9.1f} s")
    print(f"all read from Redis in            {found.seconds:9.1f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__.partition("\n")[0])
    parser.add_argument("--orgs", type=int, default=10_000, help="orgs, with one token each; default: %(default)s")
    parser.add_argument("--connections", type=int, default=16, help="concurrent connections; default: %(default)s")
    arguments = parser.parse_args()
    if shutil.which("redis-server") is None:
        raise SystemExit("This needs redis-server (Debian package of that name).")
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments.orgs, arguments.connections, Path(folder))


if __name__ == "__main__":
    main()
