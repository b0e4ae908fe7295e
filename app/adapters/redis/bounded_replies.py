"""Replies of Redis with a bound on their size, whatever an intruder or a wrong server puts into them.

redis-py reads a reply of any size. Measured: reading one value of 100 MB took 500 MB of memory, more than a pod has.
"""

from __future__ import annotations

from typing import Any

from redis._parsers import _AsyncRESP2Parser  # the public names are those of connections alone
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from typing_extensions import override

MAX_REPLY_BYTES = 1024 * 1024
"""The largest replies of the broker's own are 500 purge counters, 100 announcements, and the map of a large cluster."""


class ReplyTooLargeError(RedisError):
    """A reply is larger than any of what the broker wrote."""


class WrongTypeError(ResponseError):
    """A key has another type than the broker gave it."""


class BoundedReplies(_AsyncRESP2Parser):
    """Parses replies. After an error redis-py closes the connection, so that the rest is not read."""

    EXCEPTION_CLASSES = {**_AsyncRESP2Parser.EXCEPTION_CLASSES, "WRONGTYPE": WrongTypeError}  # noqa: RUF012  # as there

    _left = MAX_REPLY_BYTES
    awaits_first = False
    """Whether the connection is new, and Redis has not answered on it."""

    @override
    async def read_response(self, disable_decoding: bool = False) -> Any:
        self._left = MAX_REPLY_BYTES
        try:
            return await super().read_response(disable_decoding)
        except (ValueError, RecursionError):  # a length that is not a number, an endless line, endless nesting
            raise InvalidResponse("not a reply of Redis") from None

    @override
    async def _read(self, length: int) -> bytes:
        self._spend(length)
        return await super()._read(length)

    @override
    async def _readline(self) -> bytes:
        line = await super()._readline()
        self.awaits_first = False
        self._spend(len(line))
        return line

    def _spend(self, length: int) -> None:
        self._left -= length + 2  # with the end of the line
        if self._left < 0:
            raise ReplyTooLargeError("a reply that is too large")
