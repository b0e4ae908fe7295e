"""Warm ``GET /token`` against what users would pick instead.

A real Vault from which callers read the token with a policy token (KV version 2, audit log to a file, one core), and a
straightforward broker (`benchmarks/peers`), whose Redis has another core, and whose Redis' CPU time is not counted.
Keycloak's figure is the one that its documentation publishes; it signs each token, and most of its time goes into new
TLS connections, while the broker hands out a token that exists, over kept connections.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.load import Asked, Effort, take_turns
from benchmarks.peers.straightforward import CONFIGURATION
from benchmarks.report import Row, at_least
from benchmarks.scene import Scene, org, scene
from benchmarks.servers import SERVER_CORE, free_port, on_core, running
from tests.support.vault_server import MOUNT, PREFIX, running_vault

KEYCLOAK_GRANTS = 120.0
"""Client-credentials grants per vCPU and second: Keycloak's guide "Concepts for sizing CPU and memory resources"."""

ASGI, TOKEN, VAULT, BROKER = "GET /token through ASGI", "GET /token", "Vault, KV v2 read", "straightforward broker"


def measure(effort: Effort) -> list[Row]:
    """The rows of both peers, and the one of Keycloak."""
    path = f"/token?org={org(0)}"
    with scene() as stage, ExitStack() as stack:
        redis_port = stage.start_redis()
        through_asgi, broker = stage.start_broker({"BROKER_FAST_PATH": "off"}), stage.start_broker()
        token = stage.get(broker, path)
        servers = {
            ASGI: Asked(through_asgi.url(path), [through_asgi.pid], [stage.bearer]),
            TOKEN: Asked(broker.url(path), [broker.pid], [stage.bearer]),
            VAULT: stack.enter_context(_vault(token)),
            BROKER: stack.enter_context(_straightforward(stage, redis_port, path)),
        }
        turns = take_turns(servers, effort)
    pairs = ((ASGI, VAULT, 15), (TOKEN, VAULT, 40), (ASGI, BROKER, 4), (TOKEN, BROKER, 12))
    reason = "Half of the time of a warm request is spent in the kernel and the HTTP parser (docs/performance.md)."
    rows = [
        Row(name, peer, at_least(bound), turns.ratio(name, peer), turns.seen(name, peer), reason)
        for name, peer, bound in pairs
    ]
    per_core = turns.median(TOKEN)
    keycloak = f"{per_core:,.0f} against {KEYCLOAK_GRANTS:.0f}/CPU s"
    grants = "Keycloak's published grants per vCPU (with signature and TLS handshake; the broker hands out)"
    return [*rows, Row(TOKEN, grants, at_least(400), per_core / KEYCLOAK_GRANTS, keycloak)]


@contextmanager
def _vault(token: bytes) -> Iterator[Asked]:
    """A Vault that stores the answer of the broker, and what to ask it with a token that may read only that."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        with on_core(SERVER_CORE):
            vault = stack.enter_context(running_vault(Path(folder)))
        vault.put(org(0), "token", json.loads(token))
        path = f"{MOUNT}/data/{PREFIX}/{org(0)}/token"
        vault.policy("token-reader", (path, "read"))
        reader = vault.token("token-reader")
        yield Asked(f"{vault.addr}/v1/{path}", [vault.pid], [f"X-Vault-Token: {reader}"])


@contextmanager
def _straightforward(stage: Scene, redis_port: int, path: str) -> Iterator[Asked]:
    configuration, port = stage.folder / "straightforward.json", free_port()
    form = {
        "grant_type": "client_credentials",
        "client_id": "client-0",
        "client_secret": "secret-0",
        "scope": "openid,AdobeID,read_organizations",
    }
    configuration.write_text(
        json.dumps(
            {
                "redis": f"redis://127.0.0.1:{redis_port}/1",
                "ims": stage.base_url,
                "callers": {hashlib.sha256(stage.key.encode()).hexdigest(): [org(0)]},
                "credentials": {org(0): form},
            }
        )
    )
    options = [
        "--port",
        str(port),
        "--no-access-log",
        "--log-level",
        "error",
        "--loop",
        "uvloop",
        "--http",
        "httptools",
    ]
    command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.peers.straightforward:configured", *options]
    with running(command, port, {**os.environ, CONFIGURATION: str(configuration)}) as served:
        yield Asked(served.url(path), [served.pid], [stage.bearer])
