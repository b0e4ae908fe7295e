"""A real Redis and the product's own sandbox, each as a process that can be frozen, killed and started again."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.children import Child, free_port, wait_until
from tests.support.processes import CLI, environment
from tests.support.redis_server import RedisServer, running_redis

_READ = """
local kind = redis.call("TYPE", KEYS[1]).ok
if kind == "string" then return redis.call("GET", KEYS[1]) end
if kind == "stream" then return redis.call("XRANGE", KEYS[1], "-", "+") end
if kind == "list" then return redis.call("LRANGE", KEYS[1], 0, -1) end
if kind ~= "none" then return redis.error_reply("a key of the type " .. kind) end
"""
"""Reads a key of whatever type, in one step: a broker or a fault may change the type between two commands."""


class RedisBackend:
    """A real Redis in which the broker is a user with a password; the tests are its administrator.

    Args:
        server: The server.
        password: The password of the broker's user.

    """

    def __init__(self, server: RedisServer, password: str) -> None:
        self.server = server
        self.password = password

    @property
    def url(self) -> str:
        """For ``BROKER_REDIS_URL``."""
        return self.server.url_as("broker", self.password)

    def contents(self) -> bytes:
        """All names and values in plain: Redis's own dump compresses, which would hide what is looked for."""
        return repr([(name, self.server.run("EVAL", _READ, 1, name)) for name in self.server.key_names()]).encode()


@contextlib.contextmanager
def redis_backend() -> Iterator[RedisBackend]:
    """A server for as long as the context lasts."""
    password = f"redis-{secrets.token_hex(12)}"
    users = ("user default on nopass ~* &* +@all", f"user broker on >{password} ~* &* +@all")
    with running_redis(acl=users) as server:
        yield RedisBackend(server, password)


class SandboxBackend:
    """``ims-token-broker sandbox`` and the orders to it.

    Args:
        folder: The folder for the log.

    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        command = [*CLI, "sandbox", "--json", "--port", str(self.port)]
        self.process = Child("sandbox", command, folder, environment(folder))
        self._clients: dict[str, Mapping[str, object]] = {}

    def start(self) -> None:
        """Start it, and register again all clients of an earlier run."""
        self.process.launch()
        wait_until(self._answers, f"the sandbox does not start: {self.process.tail()}")
        for client in self._clients.values():
            self.put_client(client)

    def put_client(self, client: Mapping[str, object]) -> None:
        """Add or replace a client."""
        self._clients[str(client["client_id"])] = client
        self.order("PUT", f"/sandbox/clients/{client['client_id']}", client)

    def fault(self, kind: str, **fields: object) -> int:
        """Put up a fault order; its id."""
        return int(self.order("POST", "/sandbox/faults", {"kind": kind, **fields})["id"])

    def hits(self, fault_id: int) -> int:
        """How many exchanges a fault order has struck: also those that still wait."""
        faults = self.order("GET", "/sandbox/faults")["faults"]
        return next(int(fault["hits"]) for fault in faults if fault["id"] == fault_id)

    def all_hits(self) -> int:
        """How many exchanges all fault orders have struck."""
        return sum(int(fault["hits"]) for fault in self.order("GET", "/sandbox/faults")["faults"])

    def clear_faults(self) -> None:
        """Take all fault orders down."""
        self.order("DELETE", "/sandbox/faults")

    def journal(self, client_id: str | None = None) -> list[dict[str, Any]]:
        """The exchanges so far, of one client where named."""
        query = "" if client_id is None else f"?client_id={client_id}"
        entries: list[dict[str, Any]] = self.order("GET", f"/sandbox/journal{query}")["entries"]
        return entries

    def order(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """Give any order; the decoded answer, or None if there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        assert answer.status < 400, (answer.status, content)
        return json.loads(content) if content else None

    def _answers(self) -> bool:
        try:
            self.order("GET", "/sandbox/health")
        except OSError:
            return False
        return True


@contextlib.contextmanager
def sandbox_backend(folder: Path) -> Iterator[SandboxBackend]:
    """A sandbox for as long as the context lasts."""
    sandbox = SandboxBackend(folder)
    try:
        sandbox.start()
        yield sandbox
    finally:
        sandbox.process.kill()
