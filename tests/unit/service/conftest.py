"""Replicas on fakes."""

from __future__ import annotations

import pytest

from tests.support.replica_in_memory import ReplicaInMemory, World


@pytest.fixture
def world() -> World:
    """What replicas share: one clock, store, cache and IMS."""
    return World()


@pytest.fixture
def replica(world: World) -> ReplicaInMemory:
    """One replica in this world."""
    return ReplicaInMemory(world)
