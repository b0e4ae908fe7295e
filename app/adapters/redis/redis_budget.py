"""`ExchangeBudget` on Redis: one script, which computes what `app.domain.learned_rate` does."""

from __future__ import annotations

from app.adapters.redis.client import RedisClient
from app.adapters.redis.scripts import TEXT_OF, Script
from app.domain.learned_rate import (
    FORGOTTEN_RATE,
    HALVING_PAUSE,
    LEAST_RATE,
    REFUSED_RISE,
    REFUSED_SHARE,
    REMEMBERED_SECONDS,
    RISE,
    BudgetKey,
)
from app.shared_cache.key_names import DEFAULT_PREFIX, KeyNames

_MAX_LENGTH = 200
"""Characters of six numbers."""

_CLOCK_STEP = 60
"""Seconds by which Redis' clock may be set back without a loss of what was learned."""

BUDGET = Script(
    TEXT_OF
    + f"""
-- KEYS: budget   ARGV: 'take', 'refused' (a take of a credential that IMS refused last time) or 'throttled'
-- By Redis' own clock, because the replicas' may differ.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local rate, level, trust, recent, at, halved = false, 1, 1, 0, now, 0
local learned = text(KEYS[1])
if learned then
  local fields = {{}}
  if #learned <= {_MAX_LENGTH} then
    for field in string.gmatch(learned, '[^;]+') do fields[#fields + 1] = tonumber(field) end
  end
  -- What this script never writes is not the broker's: as debts of years, or times of the future. NaN is never within.
  local bounds = {{{FORGOTTEN_RATE}, {FORGOTTEN_RATE}, 1, 1e9, now + {_CLOCK_STEP}, now + {_CLOCK_STEP}}}
  local is_ours = #fields == #bounds
  for number, bound in ipairs(bounds) do is_ours = is_ours and fields[number] >= 0 and fields[number] <= bound end
  if is_ours then
    rate, level, trust, recent, at, halved = unpack(fields)
    if rate < {LEAST_RATE} then rate = false end
  end
end
local passed = math.max(0, now - at)
recent = recent * math.exp(-passed)
if rate then
  rate = rate + {RISE} * passed
  level = math.min(math.max(1, rate), level + rate * passed)
  trust = math.min(1, trust + {REFUSED_RISE} * passed)
  if rate >= {FORGOTTEN_RATE} then rate = false end
end
local wait = 0
if ARGV[1] == 'throttled' then
  if now - halved >= {HALVING_PAUSE} then
    rate, level, halved = math.max({LEAST_RATE}, math.min(rate or recent, {FORGOTTEN_RATE}) / 2), 0, now
  end
else
  local refused = ARGV[1] == 'refused'
  if rate then
    wait = math.max(0, 1 - level) / rate
    if refused then wait = math.max(wait, math.max(0, 1 - trust) / {REFUSED_RISE}) end
  else
    level, trust = 1, 1
  end
  if wait == 0 then
    level, recent = level - 1, recent + 1
    trust = math.min(1, trust + (refused and -1 or {REFUSED_SHARE}))
  end
end
redis.call('SET', KEYS[1],
  string.format('%.6f;%.6f;%.6f;%.6f;%.6f;%.6f', rate or 0, level, trust, recent, now, halved),
  'PX', {REMEMBERED_SECONDS * 1000:.0f})
return math.ceil(wait * 1000)
"""
)


class RedisExchangeBudget:
    """Learned rates, shared by the replicas.

    Args:
        client: The connections.
        prefix: Beginning of all key names.

    """

    def __init__(self, client: RedisClient, prefix: str = DEFAULT_PREFIX) -> None:
        self._client = client
        self._names = KeyNames(prefix)

    async def take(self, key: BudgetKey, *, was_refused: bool) -> float:
        """See `app.ports.ExchangeBudget.take`. One script."""
        milliseconds: int = await self._client.run(
            "budget", BUDGET, [self._names.budget(key)], ["refused" if was_refused else "take"]
        )
        return milliseconds / 1000

    async def throttled(self, key: BudgetKey) -> None:
        """See `app.ports.ExchangeBudget.throttled`. One script."""
        await self._client.run("budget", BUDGET, [self._names.budget(key)], ["throttled"])
