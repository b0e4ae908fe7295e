"""`LimitShares` on Redis: one script, which computes what `app.domain.fleet_limit` does, for many callers at once."""

from __future__ import annotations

import math
from collections.abc import Mapping

from app.adapters.redis.client import RedisClient
from app.adapters.redis.scripts import TEXT_OF, Script
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.fleet_limit import (
    DEMAND_SECONDS,
    LEASE_SECONDS,
    REPLICA_SECONDS,
    ROOM,
    ShareClaim,
    ShareGrant,
    Shares,
)
from app.shared_cache.key_names import DEFAULT_PREFIX, KeyNames

_REMEMBERED_SECONDS = 10
"""How long a key is kept after the time in which its bucket becomes full."""

LIMITS = Script(
    TEXT_OF
    + f"""
-- KEYS: replicas, and the bucket of each caller
-- ARGV: the replica, and for each caller: requests, seconds, demand, unspent, history
-- By Redis' own clock, because the replicas' may differ. A bucket is 'level;at;', and 'replica,rate,seen,served;' of
-- each replica with a demand. What is not a finite number counts as lost.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local me = ARGV[1]
local function finite(digits)
  local number = tonumber(digits)
  if number and number - number == 0 then return number end
  return nil
end
local function fair_share(mine, others, available, inflow)
  local smaller, total, several = {{}}, mine, 1
  for _, other in pairs(others) do
    if other.rate < mine then smaller[#smaller + 1] = other.rate end
    total, several = total + other.rate, several + 1
  end
  table.sort(smaller)
  for place, demand in ipairs(smaller) do
    available = available - math.min(demand, available / (several - place + 1))
  end
  return math.min(mine, available / (several - #smaller)) + math.max(0, inflow - total) / several
end

local seen, replicas = string.format('%s,%.6f;', me, now), 1
for who, at in string.gmatch(text(KEYS[1]) or '', '([^,;]+),([^,;]+);') do
  at = finite(at)
  if who ~= me and at and math.abs(now - at) <= {REPLICA_SECONDS} then
    seen, replicas = seen .. string.format('%s,%.6f;', who, at), replicas + 1
  end
end
redis.call('SET', KEYS[1], seen, 'PX', {REPLICA_SECONDS * 2000:.0f})

local answer = {{tostring(replicas)}}
for place = 2, #KEYS do
  local first = 5 * place - 8
  local requests, seconds = tonumber(ARGV[first]), tonumber(ARGV[first + 1])
  local demand, unspent, history = tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3]), ARGV[first + 4]
  local rate, kept = requests / seconds, math.max(0, unspent)
  local inflow = rate * {LEASE_SECONDS}
  local stored = text(KEYS[place]) or ''
  local level, at = string.match(stored, '^([^,;]+);([^,;]+);')
  level, at = finite(level), finite(at)
  local others, served = {{}}, 0
  if level and at then
    for who, its_rate, its_seen, its_served in string.gmatch(stored, '([^,;]+),([^,;]+),([^,;]+),([^,;]+);') do
      its_rate, its_seen, its_served = finite(its_rate), finite(its_seen), finite(its_served)
      if its_rate and its_seen and its_served then
        if who == me then
          served = math.min(its_served, now)
        elseif math.abs(now - its_seen) <= {DEMAND_SECONDS} then
          others[who] = {{rate = its_rate, seen = its_seen, served = its_served}}
        end
      end
    end
  else
    level, at = history == 'none' and requests or 0, now
  end
  local capacity = math.max(requests, {ROOM} * inflow, 1 + inflow)
  level = math.max(level, -math.max(capacity, replicas))
  level = math.min(capacity, level + math.max(0, now - at) * rate + math.min(0, unspent))
  if history == 'alone' then level = math.min(level, 0) end
  local share = fair_share(demand, others, math.max(level, inflow), inflow)
  local grant = 0
  if demand <= 0 then
    grant = -kept
  elseif share < 1 then
    local is_first = level >= 1 - kept
    for _, other in pairs(others) do is_first = is_first and served <= other.served end
    if kept > 1 or is_first then grant = 1 - kept end
  else
    grant = math.min(math.max(share - math.max(0, kept - 1), -kept), math.max(0, level))
  end
  if kept + grant >= 1 then served = now end
  level = level - grant
  if demand > 0 then others[me] = {{rate = demand, seen = now, served = served}} end
  local parts = {{string.format('%.9f;%.6f;', level, now)}}
  for who, one in pairs(others) do
    parts[#parts + 1] = string.format('%s,%.6f,%.6f,%.6f;', who, one.rate, one.seen, one.served)
  end
  redis.call('SET', KEYS[place], table.concat(parts), 'PX',
    string.format('%.0f', 1000 * (seconds + math.max(0, -level) / rate + {_REMEMBERED_SECONDS})))
  answer[#answer + 1] = string.format('%.9f,%.9f', grant - math.min(0, unspent), level)
end
return table.concat(answer, ';')
"""
)


class RedisLimitShares:
    """Buckets of callers' limits, shared by the replicas.

    Args:
        client: The connections.
        prefix: Beginning of all key names.
        script: Divides the limits.

    """

    def __init__(self, client: RedisClient, prefix: str = DEFAULT_PREFIX, script: Script = LIMITS) -> None:
        self._client = client
        self._script = script
        self._names = KeyNames(prefix)

    async def lease(self, replica: str, claims: Mapping[str, ShareClaim]) -> Shares:
        """See `app.ports.LimitShares.lease`. One script."""
        keys = [self._names.replicas, *(self._names.limit(name) for name in claims)]
        arguments = [text for claim in claims.values() for text in _arguments(claim)]
        answer: bytes = await self._client.run("limits", self._script, keys, [replica, *arguments])
        try:
            replicas, *grants = answer.decode().split(";")
            return Shares(int(replicas), dict(zip(claims, map(_grant, grants), strict=True)))
        except (ValueError, AttributeError):
            raise CacheUnavailableError("Redis gave an answer that is not one of the script's") from None


def _arguments(claim: ShareClaim) -> tuple[str, ...]:
    limit = claim.limit
    numbers = (limit.requests, limit.seconds, claim.demand, claim.unspent)
    return (*(f"{number:.9f}" for number in numbers), claim.history)


def _grant(text: str) -> ShareGrant:
    requests, level = map(float, text.split(","))
    if not math.isfinite(requests + level):
        raise ValueError(text)
    return ShareGrant(requests, level)
