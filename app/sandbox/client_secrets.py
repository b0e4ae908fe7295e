"""What Adobe knows about a client secret: its uuid, when it was made, and when it was last used."""

from __future__ import annotations

import hashlib
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

LAST_USED_STEPS = 100
"""Uses that are closer together than this part of the lag are reported as one."""


@dataclass(slots=True)
class SecretRecord:
    """One secret of a client.

    Args:
        value: The secret.
        created_at: Unix time in seconds.
        uuid: 32 hexadecimal digits, which name the secret in Adobe's API.

    """

    value: str = field(repr=False)
    created_at: float
    uuid: str = field(default_factory=lambda: uuid.uuid4().hex)
    _uses: deque[float] = field(default_factory=deque, repr=False)

    def use(self, now: float, lag: float) -> None:
        """Note an exchange at `now` that presented this secret; the uses that `last_used_at` still needs are kept."""
        while len(self._uses) > 1 and self._uses[1] <= now - lag:
            self._uses.popleft()
        if len(self._uses) > 1 and now - self._uses[-2] < lag / LAST_USED_STEPS:
            self._uses.pop()
        self._uses.append(now)

    def last_used_at(self, now: float, lag: float) -> float | None:
        """The last use that is at least `lag` seconds old, as Unix time in seconds; None if there is none."""
        return max((use for use in self._uses if use <= now - lag), default=None)


def records_of(values: Iterable[str], known: Iterable[SecretRecord], now: float) -> tuple[SecretRecord, ...]:
    """A record for each secret, in the same order: the `known` one, or a new one that was made `now`."""
    by_value = {record.value: record for record in known}
    return tuple(by_value.get(value) or SecretRecord(value, now) for value in dict.fromkeys(values))


def console_id(name: str, digits: int) -> str:
    """A decimal id like those of the Developer Console, always the same for the same `name`."""
    number = int(hashlib.sha256(name.encode()).hexdigest(), 16)
    return str(10 ** (digits - 1) + number % (9 * 10 ** (digits - 1)))
