"""A month of the simulated fleet. `make fleet-year` simulates the whole year."""

from __future__ import annotations

from tests.simulation.fleet_year import live


def test_a_month_fails_no_warm_request() -> None:
    """With failovers, an emptied Redis, a throttling IMS and rolling restarts, every warm request is answered."""
    month = live(number=1, orgs=5, days=30.0)
    assert month.failed == 0
    assert month.requests > 4000
    assert month.exchanges < 1.25 * month.fewest
