"""Warm ``GET /token`` against a constant answer of granian, which is written in Rust, through ASGI and through RSGI.

The broker decides, counts and audits each request. Another server is worth a change only if its constant answer, in
which all of this is missing, is the faster one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.load import Asked, Effort, take_turns
from benchmarks.peers.constant import SIZE
from benchmarks.report import Row, at_least
from benchmarks.scene import org, scene
from benchmarks.servers import free_port, running

_TOKEN, _ASGI, _RSGI = "GET /token", "granian, constant answer through ASGI", "granian, constant answer through RSGI"
_OPTIONS = ("--host", "127.0.0.1", "--workers", "1", "--no-ws", "--log-level", "error", "--loop", "uvloop")


def measure(effort: Effort) -> list[Row]:
    """The rows of both interfaces."""
    path = f"/token?org={org(0)}"
    with scene() as stage, ExitStack() as stack:
        broker = stage.start_broker()
        size = len(stage.get(broker, path))
        turns = take_turns(
            {
                _TOKEN: Asked(broker.url(path), [broker.pid], [stage.bearer]),
                _ASGI: stack.enter_context(_granian("asginl", "asgi", size, stage.bearer)),
                _RSGI: stack.enter_context(_granian("rsgi", "rsgi", size, stage.bearer)),
            },
            effort,
        )
    reason = "A constant answer of granian is faster here: weigh it again (docs/performance.md)."
    return [
        Row(f"{_TOKEN}, requests", peer, at_least(1), turns.ratio(_TOKEN, peer), turns.seen(_TOKEN, peer), reason)
        for peer in (_ASGI, _RSGI)
    ]


@contextmanager
def _granian(interface: str, app: str, size: int, bearer: str) -> Iterator[Asked]:
    """One worker of granian; the CPU time of its main process and of the worker counts."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", interface, "--port", str(port), *_OPTIONS]
    environment = {**os.environ, SIZE: str(size)}
    with running([*command, f"benchmarks.peers.constant:{app}"], port, environment) as served:
        yield Asked(served.url(), [served.pid, *served.children()], [bearer])
