"""What the worker processes of one replica share, and how their parent starts them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from app.adapters.json_logs import DirectLogHandler
from app.adapters.prometheus import SharedMetrics, WorkerMetrics
from app.process.worker_pool import Worker, WorkerPool

log = logging.getLogger(__name__)

_STDERR = 2


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """This process as one worker of its replica, or as the only process.

    Args:
        workers: The number of workers of the replica.
        port: The port that the parent reserves for them; None if this is the only process.
        metrics: The metrics of all workers; None if this is the only process.
        audit_lock: Held while a line is added to the audit log; see `app.process.write_lock`.
        log_lock: The same for the log.
        replaces_another: Whether this worker replaces one that exited.
        orphaned: A descriptor that becomes readable when the parent exits, or None.
        ready: Tells the parent that this process serves.

    """

    workers: int = 1
    port: int | None = None
    metrics: WorkerMetrics | None = None
    audit_lock: int | None = None
    log_lock: int | None = None
    replaces_another: bool = False
    orphaned: int | None = None
    ready: Callable[[], None] = lambda: None

    def share(self, places: int) -> int:
        """This process's part of a number of places per replica: at least one."""
        return max(1, places // self.workers)


THE_ONLY_ONE = WorkerPlace()
"""The only process of a replica without workers."""


def forked(workers: int, port: int, end_seconds: float, started: Callable[[], None]) -> WorkerPlace | int:
    """Fork the workers of a replica. It returns in each worker, and in the parent once all workers have exited.

    Args:
        workers: Their number, at least 2.
        port: The port that the parent reserves for them.
        end_seconds: Seconds from SIGTERM until a worker is killed.
        started: Called in the parent when all workers serve.

    Returns:
        In a worker, its place; in the parent, the exit status.

    """
    metrics = SharedMetrics(workers)
    locks = [os.memfd_create(name) for name in ("audit-lock", "log-lock")]
    # The parent must not hang with the reader of its log: it passes SIGTERM on.
    logging.getLogger().addHandler(DirectLogHandler(_STDERR, locks[1]))

    def ended(index: int, incarnation: int, status: int, pause: float | None) -> None:
        if lost := metrics.end(index, incarnation):
            log.error(
                "there is no room for the counts of a worker that ended: they are dropped",
                extra={"worker": index, "series": lost},
            )
        if pause is not None:
            facts = {"worker": index, "status": status, "restart_in_seconds": pause}
            log.error("a worker ended and is started again", extra=facts)

    worker = WorkerPool(workers, end_seconds, started, ended).run()
    if not isinstance(worker, Worker):
        return worker
    own = WorkerMetrics(metrics, worker.index, worker.incarnation)
    return WorkerPlace(
        workers,
        port,
        metrics=own,
        audit_lock=locks[0],
        log_lock=locks[1],
        replaces_another=worker.incarnation > 0,
        orphaned=worker.orphaned,
        ready=worker.ready,
    )
