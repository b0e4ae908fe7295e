"""The API on fakes."""

from __future__ import annotations

import pytest

from tests.support.api_in_memory import ApiInMemory


@pytest.fixture
def api() -> ApiInMemory:
    """The API with one caller, who may have all; suites that need other callers have a fixture of their own."""
    return ApiInMemory()
