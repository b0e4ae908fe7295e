"""The state of a running sandbox, in one object that its routes share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from app.sandbox.client_registry import ClientRegistry
from app.sandbox.clients import SandboxClient, SandboxConfigError, is_duration
from app.sandbox.faults import FaultBoard
from app.sandbox.journal import Journal
from app.sandbox.tokens import TokenMint

ENTERPRISE_LIFETIME = 3599.0
"""Seconds. Tokens of enterprise web apps live one hour, all others one day (docs/ims.md section 3.2)."""


class SandboxState:
    """The state of one sandbox.

    Args:
        clients: Its first clients.
        base_urls: The URLs of the sandbox; assertions must name one of their hosts.
        token_lifetime: The lifetime of tokens in seconds.
        clock: Unix time in seconds.

    """

    def __init__(
        self,
        clients: Iterable[SandboxClient],
        base_urls: Iterable[str],
        token_lifetime: float,
        clock: Callable[[], float],
    ) -> None:
        self.clients = ClientRegistry(clients, clock)
        self.clock = clock
        self.faults = FaultBoard(clock)
        self.journal = Journal()
        self.mint = TokenMint()
        self.hosts: frozenset[str] = frozenset()
        self.token_lifetime = 0.0
        self.last_used_lag = 0.0
        self.set_base_urls(base_urls)
        self.set_token_lifetime(token_lifetime)

    def set_base_urls(self, base_urls: Iterable[str]) -> None:
        """Change the URLs of the sandbox, for instance to that of a proxy.

        Raises:
            SandboxConfigError: The list is empty, or a URL has no host.

        """
        hosts = frozenset(urlsplit(url).netloc for url in base_urls)
        if not hosts or "" in hosts:
            raise SandboxConfigError("base_urls must be one or more URLs with a host.")
        self.hosts = hosts

    def set_token_lifetime(self, seconds: float) -> None:
        """Change the lifetime of new tokens.

        Raises:
            SandboxConfigError: It is not a number of seconds above 0.

        """
        if not is_duration(seconds):
            raise SandboxConfigError("token_lifetime must be a number of seconds above 0.")
        self.token_lifetime = float(seconds)

    def set_last_used_lag(self, seconds: float) -> None:
        """Change after how many seconds the secrets API reports the use of a secret.

        Raises:
            SandboxConfigError: It is not a number of seconds from 0.

        """
        if seconds != 0 and not is_duration(seconds):
            raise SandboxConfigError("last_used_lag must be a number of seconds from 0.")
        self.last_used_lag = float(seconds)

    def note_use(self, client_id: str, secret: str) -> None:
        """Note that a secret of a client was exchanged for a token."""
        for record in self.clients.secrets(client_id):
            if record.value == secret:
                record.use(self.clock(), self.last_used_lag)

    def lifetime_of(self, client: SandboxClient) -> float:
        """The lifetime of a new token of `client`, in seconds."""
        if client.token_lifetime is not None:
            return client.token_lifetime
        if client.kind == "enterprise_web_app":
            return min(ENTERPRISE_LIFETIME, self.token_lifetime)
        return self.token_lifetime
