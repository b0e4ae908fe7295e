"""What a token must be for a request or a refresh, and what was obtained."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.access_token import AccessToken, TokenState
from app.domain.decision import Tier
from app.service.exchange_places import Purpose


@dataclass(frozen=True, slots=True)
class Need:
    """The requirements for a token.

    Args:
        lives_until: Unix time in seconds at which it must still be valid.
        fresh: Whether it must not have reached its `refresh_at`.
        current: The token that is to be refreshed. If IMS issues none that lives longer, it is kept.
        replacing: A token that Adobe refused. It must be another one; a replacement is rate limited.
        behind: Seconds by which the clock of this replica is known to be behind.
        alone: Whether to skip the shared cache, because a purge by this replica has not reached it yet.

    """

    lives_until: float = 0.0
    fresh: bool = False
    current: AccessToken | None = None
    replacing: AccessToken | None = None
    behind: float = 0.0
    alone: bool = False

    @property
    def purpose(self) -> Purpose:
        """What an exchange for this need is for."""
        if self.replacing is not None:
            return Purpose.REPORT
        return Purpose.REFRESH if self.fresh else Purpose.COLD

    def met_by(self, token: AccessToken, now: float, behind: float = 0.0) -> bool:
        """Whether `token` meets this need at `now`, by a clock that is `behind` by some seconds."""
        state = token.state(now + behind, now)
        return (
            state is not TokenState.EXPIRED
            and (state is TokenState.FRESH or not self.fresh)
            and token.expires_at - behind >= self.lives_until
            and (self.replacing is None or token.sha256 != self.replacing.sha256)
        )


@dataclass(frozen=True, slots=True)
class Obtained:
    """A token and its source.

    Args:
        token: The token.
        tier: Its source.
        behind: Seconds by which the clock of this replica was behind that of the source.

    """

    token: AccessToken
    tier: Tier
    behind: float = 0.0
