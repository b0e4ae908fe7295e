"""An intruder who can read and write Redis, and nothing else, and puts an older sealed token back."""

from __future__ import annotations

from tests.support.fleet import Fleet
from tests.support.tenants import Tenant


class RedisIntruder:
    """Copies the sealed token of a tenant when it is made.

    Args:
        fleet: Whose Redis it is.
        tenant: Whose token is copied.

    """

    def __init__(self, fleet: Fleet, tenant: Tenant) -> None:
        self._run = fleet.redis.server.run
        self._name = f"{fleet.settings['REDIS_PREFIX']}:{{{tenant.org}/default}}:token:*"
        self._copy, self._life = self.record(), int(self._run("PTTL", self._name))
        assert self._copy.startswith(b"itb")

    def record(self) -> bytes:
        """The sealed token that is in Redis now; empty if there is none."""
        return self._run("GET", self._name) or b""

    def replay(self) -> None:
        """Put the copy back, with its life: with another one a replica takes it for outdated."""
        assert self.record() != self._copy, "nothing has taken its place"
        self._run("SET", self._name, self._copy, "PX", self._life)
