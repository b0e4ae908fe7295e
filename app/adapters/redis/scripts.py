"""The Lua scripts: what must be read, compared and written as one step.

A script reads the plain header of a stored token, ``itb<format>;<key id>;<expiry ms>;<epoch>;``; what it cannot judge
is whether the rest opens. That is the reader's part: it removes what does not (`DISCARD`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the SHA-1 by which Redis knows it."""

    source: str
    sha1: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha1", digest)


_TEXT_OF = """
local function text(key)
  if redis.call('TYPE', key)['ok'] ~= 'string' then return false end
  return redis.call('GET', key)
end
local function counter(key)
  local digits = string.match(text(key) or '', '^%d+$')
  if not digits or #digits > 15 then return 0 end
  return tonumber(digits)
end
"""

STORE = Script(
    _TEXT_OF
    + """
-- KEYS: token, epoch
-- ARGV: value, expiry ms, epoch, format, ",id,id," of our keys, expiry ms and epoch of the token to replace
--       (both '' if none), ms that an epoch is kept
local expiry, epoch, format = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local current = counter(KEYS[2])
if current > epoch then return 'stale_epoch' end
local there = text(KEYS[1])
if there then
  local its_format = string.match(there, '^itb(%d+);')
  if its_format and tonumber(its_format) > format then return 'older' end
  local _, id, its_expiry, its_epoch = string.match(there, '^itb(%d+);(%w+);(%d+);(%d+);')
  if id and tonumber(its_format) == format and string.find(ARGV[5], ',' .. id .. ',', 1, true) then
    local replaced = its_expiry == ARGV[6] and its_epoch == ARGV[7]
    local older = tonumber(its_epoch) < epoch or tonumber(its_expiry) < expiry
    if tonumber(its_epoch) > epoch or not (older or replaced) then return 'older' end
  end
end
if epoch > 0 then redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[8]) end
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
return 'stored'
"""
)
"""Store a token if it is of the current epoch and later than what is there. ``SET`` replaces a key of any type.

What is of an older format, not ours, or sealed with a key that this ring lacks, is replaced; what is of a newer format
never is.
"""

RAISE_EPOCH = Script(
    _TEXT_OF
    + """
-- KEYS: epoch   ARGV: above, ms that an epoch is kept
local raised = string.format('%.0f', math.max(counter(KEYS[1]), tonumber(ARGV[1])) + 1)
redis.call('SET', KEYS[1], raised, 'PX', ARGV[2])
return raised
"""
)

RESTORE_EPOCH = Script(
    _TEXT_OF
    + """
-- KEYS: epoch   ARGV: epoch, ms that an epoch is kept
if counter(KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
)

DISCARD = Script(
    _TEXT_OF
    + """
-- KEYS: token   ARGV: the value that was read
if text(KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
)

HOLD = Script(
    """
-- KEYS: hold   ARGV: ms
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
return 1
"""
)

ACQUIRE = Script(
    _TEXT_OF
    + """
-- KEYS: lease   ARGV: holder, ms
-- Our own value there is left from a try whose answer we never saw: then it is ours.
local holder = redis.call('EXISTS', KEYS[1]) == 1 and (text(KEYS[1]) or '')
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
)

RENEW = Script(
    _TEXT_OF
    + """
-- KEYS: lease   ARGV: holder, ms
if text(KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
)

RELEASE = Script(
    _TEXT_OF
    + """
-- KEYS: lease   ARGV: holder
if text(KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
)
