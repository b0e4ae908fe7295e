"""The fault table: all rows in order, in sections. `docs/faults.md` is generated from it."""

from __future__ import annotations

from tests.faults.caller_rows import CALLERS, LEAKS
from tests.faults.process_rows import POLICY, PROCESS
from tests.faults.redis_rows import BURSTS, REDIS
from tests.faults.row import FaultRow
from tests.faults.upstream_rows import IMS, TIME, VAULT

SECTIONS: dict[str, tuple[FaultRow, ...]] = {
    "Redis": REDIS,
    "Leases and bursts of requests": BURSTS,
    "Vault": VAULT,
    "IMS": IMS,
    "Time": TIME,
    "Processes and platform": PROCESS,
    "Policy and configuration": POLICY,
    "Callers": CALLERS,
    "Leaks and long runs": LEAKS,
}

ROWS = tuple(row for rows in SECTIONS.values() for row in rows)

LAST_ROW = 86
