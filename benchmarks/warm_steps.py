"""Where the time of a warm ``GET /token`` at the connection goes: microseconds by step, without the kernel.

    python -m benchmarks.warm_steps             # a table
    python -m benchmarks.warm_steps FILE.svg    # a table, and the same as bars

A broker is assembled in this process, and its connection gets segments and writes to a transport that does nothing.
Each step is timed by itself in short series; the fastest counts, because other processes only ever make one slower.
What the kernel and the event loop need for receiving and sending is not in it: see `docs/performance.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from app.adapters.audit_log.audit_lines import AuditLines
from app.api.prepared import Prepared
from app.api.warm_connection import WarmConnection
from app.bootstrap.broker import Broker, assembled
from app.cli.demo_caller import demo_api_key
from app.cli.demo_tenants import DEMO_ORGS, OAUTH_ORG, demo_tenants
from app.cli.embedded import HOST, demo_settings
from app.cli.local_ims import free_socket, served
from app.domain.events import RequestDecided
from app.domain.rate_limit import RateLimit, TokenBucket
from app.main import create_broker_server
from app.sandbox import create_sandbox
from benchmarks.plot import Bar, write_bars

CALLS, SERIES = 500, 200


@dataclass(frozen=True)
class Step:
    """A step with the time of one call in seconds. Its depth says which step before it contains it."""

    name: str
    depth: int
    seconds: float


class NoTransport(asyncio.Transport):
    """A transport of a client that reads everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.set()

    @override
    def is_closing(self) -> bool:
        return False

    @override
    def get_write_buffer_size(self) -> int:
        return 0

    @override
    def resume_reading(self) -> None:
        pass


def seconds_of(call: Callable[[], object], calls: int = CALLS) -> float:
    """The time of one call: the mean of the fastest of many short series, of so many calls each."""
    best = float("inf")
    for _ in range(SERIES):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        best = min(best, time.perf_counter() - begin)
        time.sleep(0.002)  # Lets the writer of the audit log empty its buffer.
    return max(0.0, best / calls - overhead())


def overhead() -> float:
    """The time of one call of nothing."""
    begin = time.perf_counter()
    for _ in range(CALLS):
        (lambda: None)()
    return (time.perf_counter() - begin) / CALLS


async def _measure(folder: Path) -> list[Step]:
    (folder / "credentials").mkdir(mode=0o700)
    api_key = demo_api_key(folder / "api-key", folder / "policy.yaml", DEMO_ORGS)
    sock = free_socket(HOST, 0)
    sandbox_url = "http://{}:{}".format(*sock.getsockname()[:2])
    tenants = demo_tenants(folder / "credentials", sandbox_url)
    async with served(create_sandbox([tenant.client for tenant in tenants], base_url=sandbox_url), sock):
        settings = demo_settings(folder, sandbox_url).model_copy(update={"audit_file": folder / "audit.log"})
        async with assembled(settings) as broker:
            target = f"/token?org={OAUTH_ORG}".encode()
            segment = b"GET %b HTTP/1.1\r\nHost: broker\r\nAuthorization: Bearer %b\r\n\r\n" % (
                target,
                api_key.encode(),
            )
            connection, transport = connection_of(broker)
            for _ in range(3):
                transport.written.clear()
                connection.data_received(segment)
                await transport.written.wait()
                await asyncio.sleep(0.01)  # The task that answered ends.
            return list(_steps(broker, connection, segment, target))


def connection_of(broker: Broker) -> tuple[WarmConnection, NoTransport]:
    """A connection of the broker, with a transport that does nothing."""
    server = create_broker_server(broker)
    server.config.load()
    protocol = server.config.http_protocol_class
    assert isinstance(protocol, type)
    assert issubclass(protocol, WarmConnection)
    connection, transport = protocol(server.config, server.server_state, {}), NoTransport()
    connection.connection_made(transport)
    return connection, transport


def _steps(broker: Broker, connection: WarmConnection, segment: bytes, target: bytes) -> Iterator[Step]:
    warm, clock = connection.warm, broker.services.clock
    path, _, query = target.partition(b"?")
    token, proof = warm._gets[path], connection._proof
    assert proof
    now = clock()
    prepared = token.decide(proof, query, now)
    assert isinstance(prepared, Prepared)
    admission = token._verified.recall(proof, now)
    assert admission is not None
    event = RequestDecided(now, "0123456789abcdef0123456789ab", prepared.decision)
    lines, bucket = AuditLines(), TokenBucket(RateLimit(1_000_000, 1.0))

    def parsed() -> None:
        connection._fields = b""
        connection.data_received(segment)

    yield Step("request with header fields that differ from the last ones on the connection", 0, seconds_of(parsed))
    yield Step("request with the same header fields", 0, seconds_of(lambda: connection.data_received(segment)))
    yield Step("decision and event", 1, seconds_of(lambda: warm.answer_get(target, proof)))
    yield Step("request id", 2, seconds_of(warm._new_id))
    yield Step("decision", 2, seconds_of(lambda: token.decide(proof, query, now)))
    yield Step(
        "find the caller by the hash of its credential", 3, seconds_of(lambda: token._verified.recall(proof, now))
    )
    key = token._taught.queries[token.endpoint, admission.caller, admission.api_key_sha256, query].vended.key
    yield Step("find the token in memory and check its age", 3, seconds_of(lambda: token._vendor.take_usable(key, now)))
    yield Step("send the event to metrics and audit log", 2, seconds_of(
        lambda: warm._emit(RequestDecided(now, "0123456789abcdef0123456789ab", prepared.decision))
    ))  # fmt: skip
    yield Step(
        "build the bytes of the response", 1, seconds_of(lambda: connection._rendered(prepared.answer, b"0" * 28))
    )
    yield Step("keep-alive timeout", 1, seconds_of(connection.note_use))
    yield Step("rate limit, if the caller has one", 0, seconds_of(lambda: bucket.take(now)))
    yield Step("a line of the audit log, in the log's own thread", 0, seconds_of(lambda: lines.line(event)))


def main() -> None:
    """Time, print, and draw if a file is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warm_steps", description=__doc__.partition("\n")[0])
    parser.add_argument("drawing", nargs="?", type=Path, metavar="FILE.svg", help="also draw the steps as bars")
    drawing: Path | None = parser.parse_args().drawing
    with tempfile.TemporaryDirectory() as folder:
        steps = asyncio.run(_measure(Path(folder)))
    print("| step | µs |\n|---|---|")
    for step in steps:
        print(f"| {'&nbsp;&nbsp;' * step.depth}{step.name} | {step.seconds * 1e6:.2f} |")
    sys.stdout.flush()
    if drawing is not None:
        bars = [Bar(step.name, step.seconds * 1e6, step.depth) for step in steps]
        write_bars(drawing, "A warm GET /token at the connection, step by step, without the kernel", "µs", bars)


if __name__ == "__main__":
    main()
