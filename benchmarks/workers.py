"""Two workers at one port against one process: warm ``GET /token``.

Both have as many connections as two servers usually have here. Requests per second of CPU time say what each core is
worth, if it is free for the broker. The load takes cores of its own, so on a machine with two of them requests by the
clock would not grow.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from benchmarks.load import Asked, Effort, take_turns
from benchmarks.report import Row, at_least
from benchmarks.scene import org, scene
from benchmarks.servers import Served

WORKERS = 2


def measure(effort: Effort) -> list[Row]:
    """One row."""
    path = f"/token?org={org(0)}"
    with scene() as stage:
        stage.start_redis()
        one = stage.start_broker()
        several = stage.start_broker({"BROKER_WORKERS": str(WORKERS)})
        pids = _workers_of(several)
        cores = set(range(os.cpu_count() or 1)) & os.sched_getaffinity(0)
        for pid in pids:
            os.sched_setaffinity(pid, cores)
        stage.get(one, path)
        both = replace(effort, connections=WORKERS * effort.connections)
        turns = take_turns(
            {
                "one": Asked(one.url(path), [one.pid], [stage.bearer]),
                "workers": Asked(several.url(path), pids, [stage.bearer]),
            },
            both,
        )
    seen = turns.seen("workers", "one")
    return [
        Row(
            f"GET /token, {WORKERS} workers, per core",
            "one process",
            at_least(0.9),
            turns.ratio("workers", "one"),
            seen,
        )
    ]


def _workers_of(broker: Served) -> list[int]:
    """The process ids of the workers."""
    children = Path(f"/proc/{broker.pid}/task/{broker.pid}/children").read_text().split()
    assert len(children) == WORKERS
    return [int(pid) for pid in children]
