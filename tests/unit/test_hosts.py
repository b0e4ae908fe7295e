"""Loopback means the same in settings, in issuer documents and for `health`."""

from __future__ import annotations

import pytest

from app.hosts import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "127.255.255.255", "::1", "0:0:0:0:0:0:0:1", "localhost"])
def test_loopback_is_this_machine(host: str) -> None:
    """127.0.0.0/8, ::1 and localhost are loopback."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "broker", "10.0.0.1", "128.0.0.1", "127.1", "0.0.0.0", "::", "::ffff:127.0.0.1", "[::1]", "::1%lo",
     "localhost.example.com", "127.0.0.1.example.com", "LOCALHOST"],
)  # fmt: skip
def test_everything_else_is_not_loopback(host: str) -> None:
    """What could be another machine, or is not written as an address, is not loopback."""
    assert not is_loopback(host)
