"""Adobe IMS access tokens from ims-token-broker.

`Httpx2Auth` and `RequestsAuth` are imported when they are first used, so that only one of the libraries is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ims_token_broker_client.broker import Broker
from ims_token_broker_client.errors import BrokerUnavailableError, TokenError, TokenRefusedError
from ims_token_broker_client.token import AdobeToken
from ims_token_broker_client.tokens import Tokens

if TYPE_CHECKING:
    from ims_token_broker_client.httpx2_auth import Httpx2Auth
    from ims_token_broker_client.requests_auth import RequestsAuth

__all__ = [
    "AdobeToken",
    "Broker",
    "BrokerUnavailableError",
    "Httpx2Auth",
    "RequestsAuth",
    "TokenError",
    "TokenRefusedError",
    "Tokens",
]

_OPTIONAL = {"Httpx2Auth": "httpx2_auth", "RequestsAuth": "requests_auth"}


def __getattr__(name: str) -> object:
    """Import what needs an optional package."""
    if name not in _OPTIONAL:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OPTIONAL[name]}"), name)
