"""What a soak records: one line of JSON per record, so that a history can be checked again later.

All times are seconds since the beginning of the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar


@dataclass(frozen=True)
class Begun:
    """The run.

    Args:
        seed: Its seed.
        tenants: Per org, its client id.
        lifetimes: Per org, the life of its tokens in seconds.
        forbidden: Callers that may do nothing, ever.

    """

    seed: int
    tenants: dict[str, str]
    lifetimes: dict[str, float]
    forbidden: list[str]


@dataclass(frozen=True)
class AskedToken:
    """A request for one token, and what the caller saw.

    Args:
        at: When it was sent.
        ended: When its answer was complete, or it failed.
        replica: The number of the replica.
        caller: Who asked.
        org: For which org.
        min_ttl: The life that was asked for, in seconds.
        purpose: ``vend``, or ``report`` for the answer to a report.
        status: The status of the answer, or None without one.
        code: The error code of the answer, or the name of the client's error.
        client_id: The client of the token, by the token's own claims.
        minted_at: When the token was issued, by its own claims.
        expires_at: When it ends, by its own claims.

    """

    at: float
    ended: float
    replica: int
    caller: str
    org: str
    min_ttl: float = 0.0
    purpose: str = "vend"
    status: int | None = None
    code: str = ""
    client_id: str = ""
    minted_at: float = 0.0
    expires_at: float = 0.0


@dataclass(frozen=True)
class Disturbed:
    """A fault: what it hit, and from when to when.

    Args:
        kind: Such as ``freeze``.
        target: ``redis``, ``vault``, ``ims``, ``replica-0``; a link such as ``redis-0``, ``vault-0``, ``clients-0`` or
            ``ims-link``; ``redis-data``; ``tenant:…``; or ``machine``, which was short of CPU.
        began: When.
        ended: When it was repaired, and the target answered again.

    """

    kind: str
    target: str
    began: float
    ended: float


@dataclass(frozen=True)
class PolicyChanged:
    """The policy file was replaced, and a caller's right to an org changed."""

    at: float
    caller: str
    org: str
    allowed: bool


@dataclass(frozen=True)
class PurgeAsked:
    """A purge."""

    at: float
    ended: float
    replica: int
    org: str
    status: int | None


@dataclass(frozen=True)
class Exchanged:
    """An exchange, as IMS saw it."""

    at: float
    org: str
    outcome: str


@dataclass(frozen=True)
class Measured:
    """What a replica and Redis use.

    Args:
        at: When.
        replica: The number of the replica.
        start: How often it had been started.
        values: Amounts by name, such as ``rss`` in bytes.

    """

    at: float
    replica: int
    start: int
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SecretFound:
    """A secret was found where it does not belong; the secret is named, not shown."""

    place: str
    secret: str


Record = Begun | AskedToken | Disturbed | PolicyChanged | PurgeAsked | Exchanged | Measured | SecretFound

_KINDS: dict[str, type[Record]] = {
    kind.__name__: kind
    for kind in (Begun, AskedToken, Disturbed, PolicyChanged, PurgeAsked, Exchanged, Measured, SecretFound)
}
_AnyRecord = TypeVar("_AnyRecord")


class RecordedHistory:
    """All records of a run.

    Args:
        records: Those that are there already.
        path: The file to which new ones are appended; None to keep them in memory alone.

    """

    def __init__(self, records: Iterable[Record] = (), path: Path | None = None) -> None:
        self.records = list(records)
        self._file = None if path is None else path.open("w")

    def add(self, record: Record) -> None:
        """Add a record."""
        self.records.append(record)
        if self._file is not None:
            self._file.write(json.dumps({"record": type(record).__name__, **asdict(record)}) + "\n")

    def of(self, kind: type[_AnyRecord]) -> list[_AnyRecord]:
        """All records of one kind, in the order in which they were added."""
        return [record for record in self.records if isinstance(record, kind)]

    def close(self) -> None:
        """Write what is buffered."""
        if self._file is not None:
            self._file.close()


def loaded(path: Path) -> RecordedHistory:
    """The history of a file."""
    return RecordedHistory(_read(path))


def _read(path: Path) -> Iterator[Record]:
    with path.open() as lines:
        for line in lines:
            fields = json.loads(line)
            yield _KINDS[fields.pop("record")](**fields)
