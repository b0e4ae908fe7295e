"""The Lua scripts: what must be read, compared and written as one step.

A script reads the plain header of a stored token, ``itb<format>;<key id>;<expiry ms>;<epoch>;``; what it cannot judge
is whether the rest opens. That is the reader's part: it removes what does not (`DISCARD`).

Everything that the broker writes ends by itself. What has no end, or a later one than the broker gives, was written by
someone else: it counts as absent, so that nothing that an intruder left in Redis has a lasting effect.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from app.domain.cache_entry import MAX_EPOCH_AHEAD, MAX_HOLD

LONGEST_VALUE = 256 * 1024
"""Bytes. A sealed token is the longest value of the broker's; IMS' answer with the token in it has at most 64 KiB."""

LONGEST_LEASE = 60_000
"""Milliseconds. Far longer than a lease is, also that of another release."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the SHA-1 by which Redis knows it."""

    source: str
    sha1: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha1", digest)


TEXT_OF = f"""
local function text(key)
  if redis.call('TYPE', key)['ok'] ~= 'string' then return false end
  return redis.call('GETRANGE', key, '0', '{LONGEST_VALUE}')
end
"""
"""The value of a key: false if it is missing or has another type, and cut if it is longer than any of the broker's own.

Measured: a script that gets a value of 100 MB stops Redis for three seconds.
"""

_ENDS_WITHIN = """
local function ends_within(key, ms)
  local left = redis.call('PTTL', key)
  return left >= 0 and left <= tonumber(ms)
end
"""

_TEXT_AND_END = TEXT_OF + _ENDS_WITHIN

_COUNTER = (
    _TEXT_AND_END
    + f"""
local latest = redis.call('TIME')[1] * 1000 + {MAX_EPOCH_AHEAD}
local function counter(key)
  local digits = string.match(text(key) or '', '^%d+$')
  if not digits or #digits > 15 or tonumber(digits) > latest then return 0 end
  return tonumber(digits)
end
"""
)

STORE = Script(
    _COUNTER
    + """
-- KEYS: token, epoch, and the lease if there is a holder to give it back
-- ARGV: value, expiry ms, epoch, format, expiry ms and epoch of the token to replace (both '' if none),
--       ms that an epoch is kept, holder of the lease
local function ended(outcome)
  if KEYS[3] and text(KEYS[3]) == ARGV[8] then redis.call('DEL', KEYS[3]) end
  return outcome
end
local expiry, epoch, format = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local current = counter(KEYS[2])
if current > epoch then return ended('stale_epoch') end
local there = text(KEYS[1])
if there and ends_within(KEYS[1], ARGV[7]) then
  local its_format = string.match(there, '^itb(%d+);')
  if its_format and tonumber(its_format) > format then return ended('older') end
  local its_expiry, its_epoch = string.match(there, '^itb%d+;%w+;(%d+);(%d+);')
  if its_expiry and tonumber(its_format) == format then
    local replaced = its_expiry == ARGV[5] and its_epoch == ARGV[6]
    local older = tonumber(its_epoch) < epoch or tonumber(its_expiry) < expiry
    if tonumber(its_epoch) > epoch or not (older or replaced) then return ended('older') end
  end
end
if epoch > 0 then redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[7]) end
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
return ended('stored')
"""
)
"""Store a token if it is of the current epoch and later than what is there. ``SET`` replaces a key of any type.

What is of an older format, not ours, or does not end in time is replaced; what is of a newer format never is. A record
that is sealed with a key which this replica lacks is compared like any other: otherwise replicas whose key rings differ
for a moment would overwrite each other's newer tokens.
"""

RAISE_EPOCH = Script(
    _COUNTER
    + """
-- KEYS: epoch   ARGV: above, ms that an epoch is kept
local raised = string.format('%.0f', math.max(counter(KEYS[1]), tonumber(ARGV[1])) + 1)
redis.call('SET', KEYS[1], raised, 'PX', ARGV[2])
return raised
"""
)

RESTORE_EPOCH = Script(
    _COUNTER
    + """
-- KEYS: epoch   ARGV: epoch, ms that an epoch is kept
if counter(KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
)

DISCARD = Script(
    _TEXT_AND_END
    + """
-- KEYS: token   ARGV: the value that was read
if text(KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
)

DISCARD_LONG = Script(
    _TEXT_AND_END
    + """
-- KEYS: any   ARGV: bytes
local value = text(KEYS[1])
if value and #value > tonumber(ARGV[1]) then return redis.call('DEL', KEYS[1]) end
return 0
"""
)
"""Remove a value that is longer than any of the broker's own."""

RESEAL = Script(
    _TEXT_AND_END
    + """
-- KEYS: token   ARGV: the value that was read, the same token under another key
if text(KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
"""
)
"""Replace a value only if it is still the one that was read; its life stays as it is."""

HOLD = Script(
    f"""
-- KEYS: hold   ARGV: ms
local left = redis.call('PTTL', KEYS[1])
if left < tonumber(ARGV[1]) or left > {MAX_HOLD * 1000:.0f} then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
return 1
"""
)

CLAIM = Script(
    _TEXT_AND_END
    + """
-- KEYS: replaced   ARGV: ms
if ends_within(KEYS[1], ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1
"""
)

ACQUIRE = Script(
    _TEXT_AND_END
    + f"""
-- KEYS: lease   ARGV: holder, ms
-- Our own value there is left from a try whose answer we never saw: then it is ours.
local holder = ends_within(KEYS[1], {LONGEST_LEASE}) and (text(KEYS[1]) or '')
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
)

RENEW = Script(
    _TEXT_AND_END
    + """
-- KEYS: lease   ARGV: holder, ms
if text(KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
)

RELEASE = Script(
    _TEXT_AND_END
    + """
-- KEYS: lease   ARGV: holder
if text(KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
)
