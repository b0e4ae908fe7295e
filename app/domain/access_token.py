"""An access token of IMS with its true expiry, and its state: fresh, aging or expired."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from app.domain.names import Scope, TokenKey

MAX_CLOCK_DIFFERENCE = 60.0
"""Seconds by which replicas' clocks may differ (docs/contract.md section 9)."""

MAX_MIN_TTL = 43_200
"""Seconds that a caller may ask a token to live at least: half of the 24 hours that IMS gives."""

_MARGIN_SHARE = 0.025


class TokenState(StrEnum):
    """Fresh: serve it. Aging: serve it, and refresh it in the background. Expired: never serve it."""

    FRESH = "fresh"
    AGING = "aging"
    EXPIRED = "expired"


@dataclass(frozen=True)
class AccessToken:
    """A token that IMS issued for one `TokenKey`.

    Args:
        key: The tenant, credential and scopes that it was minted for.
        value: The token itself; never in a repr, a log or a metric.
        client_id: The credential's client id, which is the ``x-api-key`` of an API call.
        kind: The kind of its credential.
        ims_base_url: The IMS host that issued it.
        scopes: Its scopes, sorted.
        generation: The version of the credential document that it was minted with.
        epoch: The purge counter of the credential when the exchange began.
        minted_at: Unix time in seconds.
        expires_at: Unix time in seconds; the true expiry, without a margin.
        refresh_at: Unix time in seconds, drawn once at random between 0.45 and 0.55 of the lifetime.
        sandbox: Default ``x-sandbox-name`` of the credential, if any.

    """

    key: TokenKey
    value: str = field(repr=False)
    client_id: str
    kind: str
    ims_base_url: str
    scopes: tuple[Scope, ...]
    generation: str
    epoch: int
    minted_at: float
    expires_at: float
    refresh_at: float
    sandbox: str | None = None

    @cached_property
    def sha256(self) -> str:
        """Lower-case hex SHA-256 of the token, which names it in logs and reports."""
        return hashlib.sha256(self.value.encode()).hexdigest()

    @cached_property
    def usable_until(self) -> float:
        """Unix time after which it is never served.

        The margin before the true expiry allows for a slow clock of another replica. It is at most 2.5 % of the
        lifetime, so that short-lived tokens are usable too.
        """
        return self.expires_at - min(MAX_CLOCK_DIFFERENCE, _MARGIN_SHARE * self.lifetime)

    @property
    def lifetime(self) -> float:
        """Seconds from minting to expiry."""
        return self.expires_at - self.minted_at

    def remaining(self, now: float) -> float:
        """Seconds until it expires; negative after its expiry."""
        return self.expires_at - now

    def state(self, now: float) -> TokenState:
        """The state at `now` (Unix time in seconds)."""
        if now >= self.usable_until:
            return TokenState.EXPIRED
        return TokenState.AGING if now >= self.refresh_at else TokenState.FRESH
