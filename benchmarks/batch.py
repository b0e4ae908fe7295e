"""``POST /tokens`` for 100 warm orgs in one request, against one warm ``GET /token``."""

from __future__ import annotations

import json

from benchmarks.load import Asked, Effort, take_turns
from benchmarks.report import Row, at_most
from benchmarks.scene import org, scene

ORGS = 100
_SCRIPT = """wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[{body}]]
"""

REASON = (
    "Each item is decided, counted against the limit, and written to the audit log, which takes 1.4 µs: 0.7 to find the"
    " token and its age, 0.1 for the limit, 0.2 for metrics and events, 0.3 for the line. The kernel sends 100 kB,"
    " 55 to 90 µs more. docs/performance.md has the steps, and what would have to change."
)


def batch_body() -> bytes:
    """The body that asks for all orgs."""
    return json.dumps({"items": [{"org": org(number)} for number in range(ORGS)]}).encode()


def measure(effort: Effort) -> list[Row]:
    """The row of the batch: CPU time of a request."""
    batch, one = f"POST /tokens, {ORGS} orgs", "GET /token"
    with scene(ORGS) as stage:
        broker = stage.start_broker()
        for number in range(ORGS):
            stage.get(broker, f"/token?org={org(number)}")
        script = stage.folder / "batch.lua"
        script.write_text(_SCRIPT.format(body=batch_body().decode()))
        turns = take_turns(
            {
                one: Asked(broker.url(f"/token?org={org(0)}"), [broker.pid], [stage.bearer]),
                batch: Asked(broker.url("/tokens"), [broker.pid], [stage.bearer], script),
            },
            effort,
        )
    seen = f"{1e6 / turns.median(batch):,.0f} against {1e6 / turns.median(one):,.0f} µs of CPU time"
    return [Row(f"{batch}, CPU time of a request", one, at_most(10), 1 / turns.ratio(batch, one), seen, REASON)]
