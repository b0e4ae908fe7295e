"""Whether a token lives long enough for a request that asks for a minimum."""

from __future__ import annotations

from app.domain.access_token import AccessToken
from app.domain.errors import InvalidRequestError

PAUSE_SECONDS, PAUSE_SHARE = 60.0, 0.05
"""Seconds, and share of a token's life, for which ``min_ttl`` mints no other one; the lesser counts."""


def lives_long_enough(token: AccessToken, min_ttl: float, now: float) -> bool:
    """Whether `token` has `min_ttl` seconds of life left at `now`; if not, a new one has.

    Raises:
        InvalidRequestError: A new one would not have them either, or only in the moment of minting.

    """
    if token.remaining(now) >= min_ttl:
        return True
    # Only a token minted this moment has nearly the whole life left, which would cost an exchange per request.
    just_minted = 0 <= now - token.minted_at < min(PAUSE_SECONDS, token.lifetime * PAUSE_SHARE)
    if token.lifetime < min_ttl or just_minted:
        raise InvalidRequestError("min_ttl must be shorter than the lifetime of this credential's tokens.")
    return False
