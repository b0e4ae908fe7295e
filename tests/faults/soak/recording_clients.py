"""Clients that ask the replicas for tokens at a steady rate, and record what they see."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any
from urllib.parse import urlencode

from tests.faults.soak.fault_plan import REPLICAS, weighted
from tests.faults.soak.records import AskedToken, PurgeAsked, RecordedHistory
from tests.faults.soak.rig import SOMETIMES, STEADY, STRANGER, Rig
from tests.support.replica import FORM
from tests.support.tenants import claims_of
from tests.support.wire import HOST, Connection, Header, Reply, request_bytes

IN_BATCH = 5
REPORTS_AT_ONCE = 20
_KEPT = 4
"""Idle connections per replica."""

_NO_ANSWER = (OSError, TimeoutError, ValueError, IndexError)
"""What a client sees of a torn or refused connection."""


class RecordingClients:
    """All clients.

    Args:
        rig: What they talk to.
        history: Where they record what they see.
        seed: For what they ask.

    """

    def __init__(self, rig: Rig, history: RecordedHistory, seed: int) -> None:
        self._rig = rig
        self._history = history
        self._draw = random.Random(seed)
        self._idle: list[list[Connection]] = [[] for _ in range(REPLICAS)]
        self._hashes: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.errors = bytearray()
        """The bodies of all answers but tokens."""

    @contextlib.asynccontextmanager
    async def asking(self, per_second: float) -> AsyncIterator[None]:
        """Ask at this rate without waiting for answers; at the end wait for all of them."""
        stream = asyncio.create_task(self._stream(per_second))
        try:
            yield
        finally:
            stream.cancel()
            await asyncio.gather(stream, *self._tasks, return_exceptions=True)
            for idle in self._idle:
                await asyncio.gather(*(connection.aclose() for connection in idle))

    @property
    def waiting(self) -> int:
        """Requests without an answer so far."""
        return len(self._tasks)

    async def purge(self, replica: int, org: str) -> None:
        """Purge a tenant."""
        at = self._rig.now()
        data = request_bytes("DELETE", f"/token?{urlencode({'org': org})}", [self._bearer(self._rig.fleet.key)])
        try:
            status: int | None = (await self._exchange(replica, data)).status
        except _NO_ANSWER:
            status = None
        self._history.add(PurgeAsked(at, self._rig.now(), replica, org, status))

    async def report(self, org: str) -> None:
        """Report the last token that was seen for a tenant, many times at once."""
        data = json.dumps({"token_sha256": self._hashes.get(org, "0" * 64)}).encode()
        headers = [self._bearer(self._rig.keys[STEADY]), (b"Content-Type", b"application/json")]
        request = request_bytes("POST", f"/token/report?{urlencode({'org': org})}", headers, data)
        await asyncio.gather(
            *(self._recorded(n % REPLICAS, STEADY, [org], request, "report") for n in range(REPORTS_AT_ONCE))
        )

    def ask_each(self, caller: str, org: str) -> None:
        """Let a caller ask each replica for a token, without waiting for the answers."""
        data = request_bytes("GET", f"/token?{urlencode({'org': org})}", [self._bearer(self._rig.keys[caller])])
        for replica in range(REPLICAS):
            self._run(self._recorded(replica, caller, [org], data, "vend"))

    def _run(self, asking: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(asking)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stream(self, per_second: float) -> None:
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        while True:
            self._run(self._one())
            number += 1
            await asyncio.sleep(max(0.0, began + number / per_second - loop.time()))

    async def _one(self) -> None:
        draw, replica = self._draw, self._draw.randrange(REPLICAS)
        [caller] = draw.choices((STEADY, SOMETIMES, STRANGER), (6, 3, 1))
        orgs, bearer = list(self._rig.tenants), self._bearer(self._rig.keys[caller])
        org = weighted(draw, orgs)
        min_ttl = draw.choice((5, 10)) if draw.random() < 0.02 else 0
        query = urlencode({"org": org, **({"min_ttl": min_ttl} if min_ttl else {})})
        match draw.choices(("token", "headers", "oauth2", "batch"), (12, 3, 3, 1))[0]:
            case "headers":
                data, orgs = request_bytes("GET", f"/headers?{query}", [bearer]), [org]
            case "oauth2":
                form = {"grant_type": "client_credentials", "org": org, "client_id": caller}
                form["client_secret"], min_ttl = self._rig.keys[caller], 0
                data, orgs = request_bytes("POST", "/oauth2/token", [FORM], urlencode(form).encode()), [org]
            case "batch":
                orgs, min_ttl = [weighted(draw, orgs) for _ in range(IN_BATCH)], 0
                body = json.dumps({"items": [{"org": one} for one in orgs]}).encode()
                data = request_bytes("POST", "/tokens", [bearer, (b"Content-Type", b"application/json")], body)
            case _:
                data, orgs = request_bytes("GET", f"/token?{query}", [bearer]), [org]
        await self._recorded(replica, caller, orgs, data, "vend", float(min_ttl))

    async def _recorded(
        self, replica: int, caller: str, orgs: Sequence[str], data: bytes, purpose: str, min_ttl: float = 0.0
    ) -> None:
        at = self._rig.now()
        try:
            answers = _answers(await self._exchange(replica, data), len(orgs))
        except _NO_ANSWER as error:
            answers = [(None, {"code": type(error).__name__})] * len(orgs)
        ended = self._rig.now()
        for org, (status, body) in zip(orgs, answers, strict=True):
            known = self._known(org, body) if status == 200 else {"code": str(body.get("code") or body.get("error"))}
            if status != 200:
                self.errors += json.dumps(body).encode()
            asked = AskedToken(at, ended, replica, caller, org, min_ttl, purpose, status)
            self._history.add(AskedToken(**{**vars(asked), **known}))

    def _known(self, org: str, body: dict[str, Any]) -> dict[str, Any]:
        """What a token says of itself, by its own claims; its answer must name the org."""
        token = body["access_token"]
        self._hashes[org] = hashlib.sha256(token.encode()).hexdigest()
        claims = claims_of(token)
        minted = int(claims["created_at"]) / 1000
        return {
            "client_id": claims["client_id"] if body.get("org_id", org) == org else f"another org, {body['org_id']}",
            "minted_at": self._rig.at(minted),
            "expires_at": self._rig.at(minted + int(claims["expires_in"]) / 1000),
        }

    async def _exchange(self, replica: int, data: bytes) -> Reply:
        """Send a request on an idle connection if there is one, and keep the connection afterwards."""
        connection = await self._connection(replica)
        try:
            reply = await connection.request(data)
        except BaseException:
            await connection.aclose()
            raise
        idle = self._idle[replica]
        if len(idle) < _KEPT and reply.header("connection") != "close":
            idle.append(connection)
        else:
            await connection.aclose()
        return reply

    async def _connection(self, replica: int) -> Connection:
        idle = self._idle[replica]
        while idle:
            connection = idle.pop()
            if not connection.ended:
                return connection
            await connection.aclose()
        return Connection(*await asyncio.open_connection(HOST, self._rig.client_ports[replica]))

    @staticmethod
    def _bearer(key: str) -> Header:
        return b"Authorization", b"Bearer " + key.encode()


def _answers(reply: Reply, count: int) -> list[tuple[int | None, dict[str, Any]]]:
    """Status and body of each answer of a reply; of a batch, one per item."""
    bearer = reply.header("authorization")
    if reply.status == 200 and bearer is not None:
        return [(200, {"access_token": bearer.removeprefix("Bearer ")})]
    body = reply.json if reply.body else {}
    if reply.status == 200 and "items" in body:
        return [(item.get("status", 200), item) for item in body["items"]]
    return [(reply.status, body)] * count
