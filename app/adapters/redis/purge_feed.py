"""Purges as a Redis stream, read from where this process stopped, so that a lost connection loses no purge."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

from app.adapters.redis.call_failure import ForeignValueError
from app.adapters.redis.client import LISTEN_SECONDS, RedisClient
from app.adapters.redis.commands import Command
from app.adapters.redis.epoch_counter import is_plausible
from app.domain.cache_entry import Purge
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.errors import InvalidRequestError
from app.domain.names import CredentialRef, parse_credential_name, parse_org

MAX_PURGES = 10_000
"""About how many purges the stream keeps."""

_MISSED = Purge(None, 0)
_BATCH = 100

_Id = tuple[int, int]
_Streams = list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]
_NOTHING_READ: _Id = (0, 0)


class PurgeFeed:
    """Announces purges, and listens to those of other replicas.

    Args:
        client: The connections.
        stream: Name of the stream.

    """

    def __init__(self, client: RedisClient, stream: str) -> None:
        self._client = client
        self._stream = stream
        self._position: _Id | None = None
        self._missed_entries = False

    async def announce(self, ref: CredentialRef, epoch: int, *, in_background: bool = False) -> None:
        """Announce to all replicas that the epoch of `ref` is now `epoch`.

        Raises:
            CacheUnavailableError: They may not have been announced.

        """
        fields = ("org", ref.org, "credential", ref.name, "epoch", epoch)
        add: Command = ("XADD", self._stream, "MAXLEN", "~", MAX_PURGES, "*", *fields)
        call = self._client.listen if in_background else self._client.call
        await call("announce", self._stream, add)

    async def purges(self) -> AsyncIterator[Purge]:
        """Purges since the end of the last iteration, and at the first one since now; then as they happen.

        `Purge(None, 0)` means that purges may have been missed.

        Raises:
            CacheUnavailableError: The connection was lost. Iterate again to continue where this stopped.

        """
        if await self._missed():
            yield _MISSED
        while True:
            entries = await self._next()
            for entry_id, purge in entries:
                self._position = entry_id
                yield purge
            # An empty answer may also mean that the stream was flushed, or counts from a lower id now.
            if not entries and await self._missed():
                yield _MISSED

    async def _missed(self) -> bool:
        """Whether entries after our position may be gone; moves the position to where reading can continue."""
        try:
            first, last = await self._ends()
        except CacheUnavailableError:
            self._missed_entries = self._missed_entries or self._position is None
            raise
        position = self._position
        if position is None:
            self._position = last
            # Before the first connection, other replicas may have purged what this one has.
            missed, self._missed_entries = self._missed_entries, False
            return missed
        # If nothing was read yet, there is no entry to look for; only a trimmed stream can have hidden one.
        lost = last < position or (position > _NOTHING_READ and first > position)
        if lost:
            self._position = last
        return lost

    async def _ends(self) -> tuple[_Id, _Id]:
        first, last = await self._listen(
            ("XRANGE", self._stream, "-", "+", "COUNT", 1),
            ("XREVRANGE", self._stream, "+", "-", "COUNT", 1),
        )
        return (_id(first[0][0]), _id(last[0][0])) if first and last else (_NOTHING_READ, _NOTHING_READ)

    async def _next(self) -> list[tuple[_Id, Purge]]:
        milliseconds, sequence = self._position or _NOTHING_READ
        limits = ("COUNT", _BATCH, "BLOCK", int(LISTEN_SECONDS * 1000))
        read: Command = ("XREAD", *limits, "STREAMS", self._stream, f"{milliseconds}-{sequence}")
        [answer] = await self._listen(read)
        streams = cast("_Streams", answer or [])
        return [(_id(entry_id), _purge(fields)) for _, entries in streams for entry_id, fields in entries]

    async def _listen(self, *commands: Command) -> list[Any]:
        """As `RedisClient.listen`. If the key has another type, or far too large an entry, it is removed.

        Otherwise no replica would hear of a purge until the entry is trimmed. All replicas notice that the stream is
        gone, as after a flush, and compare their epochs.
        """
        try:
            return await self._client.listen("purges", self._stream, *commands)
        except ForeignValueError:
            self._position, self._missed_entries = None, True
            await self._client.call("discard", self._stream, ("DEL", self._stream))
            raise


def _id(text: bytes) -> _Id:
    milliseconds, _, sequence = text.partition(b"-")
    return int(milliseconds), int(sequence)


def _purge(fields: Mapping[bytes, bytes]) -> Purge:
    """An entry; one that cannot be read means that something was purged, so everything is."""
    try:
        org = parse_org(fields[b"org"].decode())
        name = parse_credential_name(fields[b"credential"].decode())
        epoch = int(fields[b"epoch"])
        return Purge(CredentialRef(org, name), epoch) if epoch > 0 and is_plausible(epoch) else _MISSED
    except (KeyError, ValueError, InvalidRequestError):
        return _MISSED
