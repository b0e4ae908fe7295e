"""Where the time of a warm ``POST /tokens`` of 100 items goes: microseconds by step, without the kernel.

    python -m benchmarks.batch_steps

Measured as by `benchmarks.warm_steps`, with the tenants and the requests of `benchmarks.batch`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator

from app.adapters.audit_log.audit_lines import AuditLines
from app.api.batch_items import parse_items
from app.api.warm_batch import BatchHead
from app.api.warm_connection import WarmConnection
from app.bootstrap.broker import assembled
from app.domain.events import RequestDecided
from app.process.name_lookups import Loop
from app.settings.settings import Settings, read_settings
from benchmarks.batch import ORGS, batch_body
from benchmarks.scene import Scene, org, scene
from benchmarks.warm_steps import NoTransport, Step, connection_of, seconds_of

CALLS = 5
"""Of a batch in a series: the buffer of the audit log takes no more without a pause."""


async def _warmed(connection: WarmConnection, transport: NoTransport, segment: bytes) -> None:
    for _ in range(3):
        transport.written.clear()
        connection.data_received(segment)
        await transport.written.wait()
        await asyncio.sleep(0.05)  # The task that answered ends.


async def _measure(settings: Settings, stage: Scene) -> list[Step]:
    async with assembled(settings) as broker:
        single = f"GET /token?org={org(0)} HTTP/1.1\r\nHost: broker\r\n{stage.bearer}\r\n\r\n".encode()
        size = len(batch_body())
        head = f"POST /tokens HTTP/1.1\r\nHost: broker\r\n{stage.bearer}\r\nContent-Length: {size}\r\n\r\n"
        together = head.encode() + batch_body()
        connection, transport = connection_of(broker)
        await _warmed(connection, transport, single)
        get = Step("one `GET /token`, for comparison", 0, seconds_of(lambda: connection.data_received(single)))
        await _warmed(connection, transport, together)
        whole = seconds_of(lambda: connection.data_received(together), CALLS)
        batch = Step(f"`POST /tokens` with {ORGS} items", 0, whole)
        assert connection._body is not None
        return [get, batch, *_steps(connection, connection._body[2])]


def _steps(connection: WarmConnection, head: object) -> Iterator[Step]:
    assert isinstance(head, BatchHead)
    frame, warm, body, known = head._frame, head._warm, batch_body(), parse_items(batch_body())
    now = frame.clock()
    admission = warm.recall(head._proof, now)
    assert admission is not None
    prepared = [one for one in (warm.prepared(admission, item.query, now) for item in known) if one is not None]
    assert len(prepared) == ORGS
    decisions, request_id, lines = [one.decision for one in prepared], "0123456789abcdef0123456789ab", AuditLines()
    events = [RequestDecided(now, request_id, decision) for decision in decisions]
    answered = connection.warm.answer_body(head, body)
    assert answered is not None
    steps = {
        "find the parsed items of a known body": lambda: parse_items(bytes(bytearray(body))),
        "decide: find each token in memory and check its age": lambda: [
            warm.prepared(admission, item.query, now) for item in known
        ],
        "count each item against the rate limit": lambda: frame.gate.count_each(admission.caller, ORGS),
        "send the events to metrics and audit log": lambda: frame.report_warm(decisions, request_id),
        "join the answers": lambda: b",".join([one.answer.body for one in prepared]),
        "build the bytes of the response": lambda: connection._rendered(answered[0], request_id.encode()),
    }
    for name, call in steps.items():
        yield Step(name, 1, seconds_of(call, CALLS))
    yield Step("lines of the audit log, in the log's own thread", 0, seconds_of(
        lambda: [lines.line(event) for event in events], CALLS
    ))  # fmt: skip
    yield Step("parse a new body", 0, seconds_of(lambda: parse_items.__wrapped__(body), CALLS))


def main() -> None:
    """Time and print."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.batch_steps", description=__doc__.partition("\n")[0]
    ).parse_args()
    with scene(ORGS) as stage:
        _, environment = stage.broker_command(1)
        settings = read_settings({name: value for name, value in environment.items() if name.startswith("BROKER_")})
        steps = asyncio.Runner(loop_factory=Loop).run(_measure(settings, stage))
    print("| step | µs | µs per item |\n|---|---|---|")
    for step in steps:
        print(
            f"| {'&nbsp;&nbsp;' * step.depth}{step.name} | {step.seconds * 1e6:.1f} | {step.seconds * 1e6 / ORGS:.2f} |"
        )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
