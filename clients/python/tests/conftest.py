"""The fixture that the package offers to applications."""

from __future__ import annotations

from ims_token_broker_client.pytest_plugin import fake_broker

__all__ = ["fake_broker"]
