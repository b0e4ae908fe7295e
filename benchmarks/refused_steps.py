"""What a refused ``GET /token`` costs: microseconds of CPU time, at the connection and on the long path through ASGI.

    python -m benchmarks.refused_steps

A broker is assembled in this process, as in `benchmarks.warm_steps`. Each request has an id of its own, so its head is
parsed, as in `benchmarks.mixed_load`. The audit log's thread is included, the kernel's share of receiving and
sending is not. The fastest of several series counts.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.api.caller_gate import CallerGate
from app.api.expired_jwts import ExpiredJwts
from app.api.failing_sources import FailingSources
from app.api.warm_connection import WarmConnection
from app.api.warm_refusals import Refused
from app.bootstrap.broker import Broker, assembled
from app.domain.api_key import SECRET_BYTES, new_api_key
from app.domain.rate_limit import RateLimit
from app.settings.settings import read_settings
from benchmarks.scene import Scene, org, scene
from benchmarks.servers import free_port
from benchmarks.warm_steps import connection_of, seconds_of

REQUESTS, SERIES = 300, 20
NO_LIMIT, LIMIT_REACHED = RateLimit(10**9, 1.0), RateLimit(1, 1e9)


@dataclass(frozen=True)
class Kind:
    """Requests of one kind.

    Args:
        name: What they are.
        segments: The requests, sent in turn.
        limit: The limit of refused credentials of their address.
        is_certain: Whether they are refused at the connection.

    """

    name: str
    segments: Sequence[bytes]
    limit: RateLimit = NO_LIMIT
    is_certain: bool = True


def _asked(number: int, bearer: str) -> bytes:
    """A request for the token of an org."""
    return (
        f"GET /token?org={org(number)} HTTP/1.1\r\nHost: broker\r\nAuthorization: Bearer {bearer}\r\n"
        f"X-Request-Id: request\r\n\r\n"
    ).encode()


def _kinds(stage: Scene) -> Iterator[Kind]:
    forged = [_asked(0, new_api_key("bench", secrets.token_bytes(SECRET_BYTES))) for _ in range(100)]
    expired, good = stage.jwt(seconds=-600), stage.jwt()
    unsigned = _asked(0, f"{good.rpartition('.')[0]}.{expired.rpartition('.')[2]}")
    yield Kind("200, warm", [_asked(0, stage.key)])
    yield Kind("403, the policy denies it", [_asked(1, stage.key)])
    yield Kind("401, unknown API key", forged)
    yield Kind("401, expired JWT", [_asked(0, expired)])
    yield Kind("429, unknown API key, too many of its address", forged, LIMIT_REACHED)
    yield Kind("429, JWT, too many of its address", [unsigned], LIMIT_REACHED)
    yield Kind("401, JWT with a wrong signature (RSA, 2048 bits)", [unsigned], is_certain=False)


class Measured:
    """A connection of a broker in this process, and what of it is changed between series."""

    def __init__(self, broker: Broker) -> None:
        self.connection, self._transport = connection_of(broker)
        self.gate: CallerGate = self.connection.warm._gets[b"/token"]._gate
        self._answer = self.connection.warm.answer

    def refuse(self, limit: RateLimit) -> None:
        """Let the address have this limit, and one refused credential."""
        self.gate._failing = FailingSources(limit)
        self.gate._failing.count("", time.time())

    def answer_at_connection(self, *, is_on: bool) -> None:
        """Whether the one function that answers at once, asked by the connection and by the door, answers anything."""
        self.connection.warm.answer = self._answer if is_on else lambda *_: None  # type: ignore[method-assign]  # of it alone

    async def seconds(self, kind: Kind, *, forgets: bool) -> float:
        """CPU time of one request: the mean of the fastest series."""
        await self._series(kind, forgets=forgets)
        return min([await self._series(kind, forgets=forgets) for _ in range(SERIES)])

    async def _series(self, kind: Kind, *, forgets: bool) -> float:
        written = self._transport.written
        begin = time.process_time()
        for number in range(REQUESTS):
            written.clear()
            if forgets:
                self.gate._expired = ExpiredJwts()
            self.connection.data_received(kind.segments[number % len(kind.segments)])
            if not written.is_set():
                await written.wait()
                while self.connection.is_answering():  # noqa: ASYNC110  # uvicorn has no event for it
                    await asyncio.sleep(0)
        return (time.process_time() - begin) / REQUESTS


async def _measure(stage: Scene) -> tuple[list[tuple[str, float | None, float]], list[tuple[str, float]]]:
    _, environment = stage.broker_command(free_port())
    settings = read_settings({name: value for name, value in environment.items() if name.startswith("BROKER_")})
    rows: list[tuple[str, float | None, float]] = []
    async with assembled(settings) as broker:
        logging.disable(logging.CRITICAL)
        measured = Measured(broker)
        for kind in _kinds(stage):
            measured.refuse(kind.limit)
            measured.answer_at_connection(is_on=True)
            here = await measured.seconds(kind, forgets=False) if kind.is_certain else None
            measured.answer_at_connection(is_on=False)
            rows.append((kind.name, here, await measured.seconds(kind, forgets=True)))
        measured.answer_at_connection(is_on=True)
        measured.refuse(NO_LIMIT)
        steps = [(name, seconds_of(call)) for name, call in _steps(measured, stage)]
        logging.disable(logging.NOTSET)
    return rows, steps


def _steps(measured: Measured, stage: Scene) -> Iterator[tuple[str, Callable[[], object]]]:
    """Of the refusal of an unknown API key at the connection."""
    connection: WarmConnection = measured.connection
    warm, token = connection.warm, connection.warm._gets[b"/token"]
    authorizations = (f"Bearer {new_api_key('bench', secrets.token_bytes(SECRET_BYTES))}".encode(),)
    query, now = f"org={org(0)}".encode(), time.time()
    refused = token.decide_head(authorizations, query, "", now)
    assert isinstance(refused, Refused)
    yield (
        "decision: the key is hashed, looked up and counted",
        lambda: token.decide_head(authorizations, query, "", now),
    )
    yield "events to metrics, audit log and log", lambda: warm._answer(refused, "request", now)
    yield "of these, the answer: the request id is put in", lambda: refused.answer_to("request")
    denied = (f"Bearer {stage.key}".encode(),)
    other = f"org={org(1)}".encode()
    yield "decision that the policy denies it, for comparison", lambda: token.decide_head(denied, other, "", now)


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.refused_steps", description=__doc__.partition("\n")[0]
    ).parse_args()
    with scene(2) as stage:
        stage.write_policy(org(0))
        rows, steps = asyncio.run(_measure(stage))
    print("| request | at the connection, µs | on the long path, µs |\n|---|---|---|")
    for name, here, there in rows:
        print(f"| {name} | {'-' if here is None else f'{here * 1e6:.1f}'} | {there * 1e6:.0f} |")
    print("\n| step of a refused API key at the connection | µs |\n|---|---|")
    for name, seconds in steps:
        print(f"| {name} | {seconds * 1e6:.1f} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
