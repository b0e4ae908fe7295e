"""The documented rights of a command that moves private keys into Vault are enough, and each of them is needed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from app.adapters.vault import VaultConfig, VaultSession, VaultTransitKeys
from app.domain.errors import BrokerError
from tests.support.fenced import fenced
from tests.support.keys import key_pair
from tests.support.recorded_events import RecordedEvents
from tests.support.vault_server import VaultServer

_LINES = fenced("least-privilege.md", "vault-transit-policy").splitlines()
_numbers = itertools.count()


async def key_failures(server: VaultServer, policy: str) -> list[str]:
    """The operations with transit keys that fail for a command that has `policy`."""
    name, moved = f"least-keys-{next(_numbers)}", f"least-moved-{next(_numbers)}"
    server.write(f"sys/policies/acl/{name}", policy=policy)
    failed = []
    async with aclosing(_session(server, server.root_token)) as root:
        await VaultTransitKeys(root, "transit").import_key(moved, key_pair().pkcs8)
    async with aclosing(_session(server, server.token(name, no_default_policy=True))) as session:
        keys = VaultTransitKeys(session, "transit")
        operations: dict[str, Callable[[], Awaitable[object]]] = {
            "move": lambda: keys.import_key(name, key_pair().pkcs8),
            "move again": lambda: keys.import_key(moved, key_pair().pkcs8),
            "read": lambda: keys.public_key(moved),
        }
        for operation, work in operations.items():
            try:
                await work()
            except BrokerError:
                failed.append(operation)
    return failed


def _session(server: VaultServer, token: str) -> VaultSession:
    return VaultSession(VaultConfig(addr=server.addr, token=token), RecordedEvents())


async def test_the_policy_for_transit_keys_is_enough(vault_server: VaultServer) -> None:
    """Moving a key, moving it again and reading its public half work with the documented lines alone."""
    assert await key_failures(vault_server, "\n".join(_LINES)) == []


@pytest.mark.parametrize(
    ("line", "fails"),
    list(zip(_LINES, [["move", "move again"], ["move again", "read"], ["move", "move again"]], strict=True)),
    ids=lambda value: value.split('"')[1] if isinstance(value, str) else "",
)
async def test_every_line_for_transit_keys_is_needed(vault_server: VaultServer, line: str, fails: list[str]) -> None:
    """Without a line exactly the operations that need it fail."""
    others = [other for other in _LINES if other is not line]
    assert await key_failures(vault_server, "\n".join(others)) == fails


def test_no_line_has_two_capabilities() -> None:
    """Each line has one capability, so that every capability is tested separately."""
    for line in _LINES:
        assert re.search(r'capabilities = \["\w+"\]', line), line
