"""Tokens that end soon because their refresh fails: operators must learn of them before callers do.

A token is refreshed when a caller asks for it, so an unused one may grow old. That is intended and does not count: only
a refresh that was tried and failed counts, if the token's life will soon be over.
"""

from __future__ import annotations

from app.domain.access_token import AccessToken
from app.service.backoff import RefreshBackoff
from app.service.memory import TokenMemory

WITHIN = {"1h": (3600.0, 0.1), "6h": (21600.0, 0.25)}
"""Seconds of life left, and as a share of the whole life; the lesser counts, because some tokens live shorter."""


def failing_refreshes(memory: TokenMemory, backoff: RefreshBackoff, now: float) -> dict[str, int]:
    """How many tokens that can still be answered failed to be refreshed and end soon, by how soon."""
    counts = dict.fromkeys(WITHIN, 0)
    for key, failed_at in backoff.failures():
        token = memory.get(key)
        # A failure from before the token was due belongs to the token before it, which was replaced in the end.
        if token is None or failed_at < token.refresh_at or now >= token.usable_until:
            continue
        for within in WITHIN:
            counts[within] += _ends(token, within, now)
    return counts


def _ends(token: AccessToken, within: str, now: float) -> bool:
    seconds, share = WITHIN[within]
    return token.remaining(now) <= min(seconds, share * token.lifetime)
