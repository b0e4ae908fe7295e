"""The clients that the sandbox knows, with what Adobe keeps about each: its certificates and its secrets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.sandbox.client_secrets import SecretRecord, records_of
from app.sandbox.clients import Binding, SandboxClient, SandboxConfigError, binding_of, check_client


@dataclass(frozen=True, slots=True)
class _Known:
    client: SandboxClient
    bindings: tuple[Binding, ...]
    secrets: tuple[SecretRecord, ...]


class ClientRegistry:
    """All clients by id. The certificates of each are parsed once; a secret that stays keeps its uuid.

    Args:
        clients: The first clients.
        clock: Unix time in seconds.

    """

    def __init__(self, clients: Iterable[SandboxClient] = (), clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._clients: dict[str, _Known] = {}
        self._in_console: dict[tuple[str, str], str] = {}
        for client in clients:
            self.put(client)

    def put(self, client: SandboxClient) -> None:
        """Add `client`, or replace the client with the same id, for instance to change its kind.

        Raises:
            SandboxConfigError: The client is malformed, or another one has its ids in the console.

        """
        check_client(client)
        place = (client.console_org_id, client.credential_id)
        if self._in_console.get(place, client.client_id) != client.client_id:
            raise SandboxConfigError("A client's credential_id is that of another client.")
        bindings = tuple(binding_of(pem) for pem in client.certificates)
        secrets = records_of(client.client_secrets, self.secrets(client.client_id), self._clock())
        self.remove(client.client_id)
        self._clients[client.client_id] = _Known(client, bindings, secrets)
        self._in_console[place] = client.client_id

    def remove(self, client_id: str) -> bool:
        """Remove a client; False if there was none."""
        known = self._clients.pop(client_id, None)
        if known is None:
            return False
        del self._in_console[(known.client.console_org_id, known.client.credential_id)]
        return True

    def find(self, client_id: str) -> SandboxClient | None:
        """The client with this id, or None."""
        known = self._clients.get(client_id)
        return known.client if known else None

    def in_console(self, console_org_id: str, credential_id: str) -> SandboxClient | None:
        """The client with these ids in the Developer Console, or None."""
        return self.find(self._in_console.get((console_org_id, credential_id), ""))

    def bindings(self, client_id: str) -> tuple[Binding, ...]:
        """The certificates of this client."""
        known = self._clients.get(client_id)
        return known.bindings if known else ()

    def secrets(self, client_id: str) -> tuple[SecretRecord, ...]:
        """The secrets of this client, in the order of its `client_secrets`."""
        known = self._clients.get(client_id)
        return known.secrets if known else ()

    def all(self) -> tuple[SandboxClient, ...]:
        """All clients, by id."""
        return tuple(self._clients[client_id].client for client_id in sorted(self._clients))
