"""The image of this checkout, built once."""

from __future__ import annotations

import pytest

from tests.support.image import Image, built_image


@pytest.fixture(scope="session")
def image() -> Image:
    """The image."""
    return built_image()
