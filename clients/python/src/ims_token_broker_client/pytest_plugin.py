"""A pytest fixture for applications: put ``pytest_plugins = ["ims_token_broker_client.pytest_plugin"]`` in conftest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ims_token_broker_client.fake_broker import FakeBroker, running_fake_broker


@pytest.fixture
def fake_broker() -> Iterator[FakeBroker]:
    """A broker with made-up tokens, for one test."""
    with running_fake_broker() as broker:
        yield broker
