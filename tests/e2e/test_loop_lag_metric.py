"""The lag of the event loop is visible from outside."""

from __future__ import annotations

import asyncio
import re

from tests.support.fleet import Fleet
from tests.support.replica import BrokerProcess

_LAG = re.compile(r"^ims_token_broker_event_loop_lag_seconds (\S+)$", re.MULTILINE)
_TASKS = re.compile(r"^ims_token_broker_event_loop_tasks (\S+)$", re.MULTILINE)


async def test_a_replica_that_stood_still_reports_it(own_fleet: Fleet) -> None:
    """After a second without CPU the lag is about a second; the tasks of the event loop are counted."""
    [replica] = own_fleet.start(1)
    replica.process.freeze()
    await asyncio.sleep(1.0)
    replica.process.thaw()
    # The request may be read before the delayed timer runs, so it is asked again.
    await _metric(replica, _LAG)
    await asyncio.sleep(0.3)
    assert 0.8 <= await _metric(replica, _LAG) < 20
    assert 3 <= await _metric(replica, _TASKS) < 100


async def _metric(replica: BrokerProcess, pattern: re.Pattern[str]) -> float:
    found = pattern.search((await replica.get("/metrics")).body.decode())
    assert found is not None
    return float(found[1])
