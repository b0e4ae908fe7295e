"""Tokens that expire soon because their refresh fails: operators must see them before callers are affected.

A token that no caller has used for long is not refreshed, and may expire. That is intended, and does not count: only a
failed refresh of a token that expires soon counts.
"""

from __future__ import annotations

from app.domain.access_token import AccessToken
from app.service.backoff import RefreshBackoff
from app.service.memory import TokenMemory

WITHIN = {"1h": (3600.0, 0.1), "6h": (21600.0, 0.25)}
"""Seconds until expiry, and as a share of the lifetime; the smaller counts, because some lifetimes are shorter."""


def failing_refreshes(memory: TokenMemory, backoff: RefreshBackoff, now: float) -> dict[str, int]:
    """The number of usable tokens whose refresh failed and that expire soon, by how soon."""
    counts = dict.fromkeys(WITHIN, 0)
    for key, failed_at in backoff.failures():
        token = memory.get(key)
        # A failure before the token was due for refresh belongs to the token before it, which was replaced.
        if token is None or failed_at < token.refresh_at or now >= token.usable_until:
            continue
        for within in WITHIN:
            counts[within] += _ends(token, within, now)
    return counts


def _ends(token: AccessToken, within: str, now: float) -> bool:
    seconds, share = WITHIN[within]
    return token.remaining(now) <= min(seconds, share * token.lifetime)
