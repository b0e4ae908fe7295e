"""Whether a token lives long enough for the ``min_ttl`` of a request."""

from __future__ import annotations

from app.domain.access_token import AccessToken
from app.domain.errors import InvalidRequestError

PAUSE_SECONDS, PAUSE_SHARE = 60.0, 0.05
"""``min_ttl`` never replaces a token younger than these seconds or this share of its lifetime; the smaller counts."""


def lives_long_enough(token: AccessToken, min_ttl: float, now: float) -> bool:
    """Whether `token` has `min_ttl` seconds of life left at `now`. If not, a new token has them.

    Raises:
        InvalidRequestError: A new token would not have them either, or only just after minting.

    """
    if token.remaining(now) >= min_ttl:
        return True
    # Only a brand-new token has nearly its whole lifetime left: each request would cost an exchange.
    just_minted = 0 <= now - token.minted_at < min(PAUSE_SECONDS, token.lifetime * PAUSE_SHARE)
    if token.lifetime < min_ttl or just_minted:
        raise InvalidRequestError("min_ttl must be shorter than the lifetime of this credential's tokens.")
    return False
