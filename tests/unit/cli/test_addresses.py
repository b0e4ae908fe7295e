"""How an address is displayed."""

from __future__ import annotations

import pytest

from app.cli.addresses import url_of


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://0.0.0.0:80"), ("::1", "http://[::1]:80")],
)
def test_url(host: str, url: str) -> None:
    """An address is displayed as a URL that can be called."""
    assert url_of(host, 80) == url
