"""The values of keys and how long they live, read in one step and with one command."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from redis.exceptions import InvalidResponse

from app.adapters.redis.bounded_replies import ReplyTooLargeError
from app.adapters.redis.scripts import LONGEST_VALUE, TEXT_OF, Script

READ_STATES = Script(
    f"""#!lua flags=no-writes
{TEXT_OF}
-- KEYS: any. The answer: for each key the ms left, as PTTL has them, and the bytes of its value, -1 if it is missing or
-- has another type; then the values.
local heads, values = '', ''
for _, key in ipairs(KEYS) do
  local left, length = redis.call('PTTL', key), -1
  local value = left ~= -2 and text(key)
  if value then length, values = #value, values .. value end
  heads = heads .. left .. ',' .. length .. ','
end
return heads .. ';' .. values
"""
)
"""One text, because redis-py takes as long for each further element of a reply as for the value itself.

A script that says that it does not write also runs at a read-only replica, and while Redis lets writes wait.
"""


@dataclass(frozen=True, slots=True)
class KeyState:
    """What a key has.

    Args:
        value: Its value; None if it is missing or has another type.
        left: Milliseconds that it still lives; negative if it is missing or has no end.

    """

    value: bytes | None = field(repr=False)
    left: int


def key_states(answer: object, keys: int) -> list[KeyState]:
    """The answer of `READ_STATES` for a number of keys.

    Raises:
        InvalidResponse: It is none.
        ReplyTooLargeError: A value is longer than any of the broker's own; it was cut.

    """
    try:
        heads, _, values = cast("bytes", answer).partition(b";")
        numbers = [int(number) for number in heads.split(b",")[:-1]]
    except (AttributeError, TypeError, ValueError):
        raise InvalidResponse("not the answer of the script") from None
    states, begin = [], 0
    for left, length in zip(numbers[::2], numbers[1::2], strict=False):
        if length > LONGEST_VALUE:
            raise ReplyTooLargeError("a value that is too long")
        end = begin + max(0, length)
        states.append(KeyState(None if length < 0 else values[begin:end], left))
        begin = end
    if len(numbers) != 2 * keys or begin != len(values):
        raise InvalidResponse("not the answer of the script")
    return states
