"""The sandbox as an ASGI app."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from app.sandbox.admin import admin_routes
from app.sandbox.clients import SandboxClient
from app.sandbox.exchange import exchange_routes
from app.sandbox.gateway import gateway_routes
from app.sandbox.secrets_api import secrets_api_routes
from app.sandbox.state import SandboxState
from app.sandbox.token_services import token_service_routes

TOKEN_LIFETIME = 86399.0
"""Seconds. The lifetime of Adobe's tokens."""


class Sandbox:
    """The ASGI app.

    Args:
        state: Its state. Tests may read it; programs use the routes under ``/sandbox/``.

    """

    def __init__(self, state: SandboxState) -> None:
        self.state = state
        routes = [
            *exchange_routes(state),
            *token_service_routes(state),
            *secrets_api_routes(state),
            *gateway_routes(state),
            *admin_routes(state),
        ]
        self._app = Starlette(routes=routes)
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Every answer has an ``X-Debug-Id``, which the journal names."""
        debug_id = secrets.token_hex(16)
        scope.setdefault("state", {})["debug_id"] = debug_id

        async def send_with_debug_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Debug-Id"] = debug_id
                headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, send_with_debug_id)


def create_sandbox(
    clients: Iterable[SandboxClient] = (),
    *,
    base_url: str,
    aliases: Iterable[str] = (),
    token_lifetime: float = TOKEN_LIFETIME,
    last_used_lag: float = 0.0,
    clock: Callable[[], float] = time.time,
) -> Sandbox:
    """Make a sandbox.

    Args:
        clients: Its first clients.
        base_url: The URL of the sandbox; assertions must name its host.
        aliases: Further URLs of the sandbox, such as that of a proxy.
        token_lifetime: The lifetime of its tokens in seconds.
        last_used_lag: Seconds after which the secrets API reports the use of a secret.
        clock: Unix time in seconds.

    Raises:
        SandboxConfigError: A client or a URL is not valid.

    """
    state = SandboxState(clients, [base_url, *aliases], token_lifetime, clock)
    state.set_last_used_lag(last_used_lag)
    return Sandbox(state)
