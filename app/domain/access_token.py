"""An access token of IMS with its true expiry, and its state: fresh, aging, critical or expired."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass, field, replace
from enum import StrEnum

from app.domain.names import Scope, TokenKey

MAX_CLOCK_DIFFERENCE = 60.0
"""Seconds by which replicas' clocks may differ (docs/contract.md section 9)."""

MAX_MIN_TTL = 43_200
"""Seconds that a caller may ask a token to live at least: half of the 24 hours that IMS gives."""

CRITICAL_SECONDS, CRITICAL_SHARE = 600.0, 0.1
"""A token is critical from this many seconds, or this share of its lifetime, before its expiry; the smaller counts."""

_MARGIN_SHARE = 0.025


SAME_EXPIRY_SECONDS = 1.0
"""A new token that expires at most this much later does not live longer: lifetimes are in whole seconds."""


MAX_TOKEN_MEMORY = 256 * 1024 * 1024
"""Bytes of memory for the tokens of a process, which all caches in it share: about 100,000 tokens of 1.2 kB."""

TOKEN_OVERHEAD = 1400
"""Bytes of memory that a token takes besides its value, its keys and its place in a cache included (measured by
`make bench ARGS=memory`)."""


class TokenState(StrEnum):
    """Whether a token may be served, and how urgent its refresh is."""

    FRESH = "fresh"
    """Serve it."""

    AGING = "aging"
    """Serve it, and refresh it in the background."""

    CRITICAL = "critical"
    """Wait for the refresh, but only for a short time; serve it if the refresh fails."""

    EXPIRED = "expired"
    """Never serve it."""


@dataclass(frozen=True, slots=True)
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
    sha256: str = field(init=False, repr=False, compare=False)
    """Lower-case hex SHA-256 of the token, which names it in logs and reports."""

    is_plain_in_json: bool = field(init=False, repr=False, compare=False)
    """Whether the token is the same within a JSON string, without an escape."""

    usable_until: float = field(init=False, repr=False, compare=False)
    """Unix time after which it is never served.

    The margin before the true expiry allows for a slow clock of another replica. It is at most 2.5 % of the
    lifetime, so that short-lived tokens are usable too.
    """

    critical_from: float = field(init=False, repr=False, compare=False)
    """Unix time from which requests wait for its refresh."""

    def __post_init__(self) -> None:
        # Made once, because the warm path reads them; and many tokens share the text of what they have in common.
        made = {
            "kind": sys.intern(str(self.kind)),
            "ims_base_url": sys.intern(self.ims_base_url),
            "generation": sys.intern(self.generation),
            "scopes": tuple(Scope(sys.intern(scope)) for scope in self.scopes),
            "sha256": hashlib.sha256(self.value.encode()).hexdigest(),
            "is_plain_in_json": json.dumps(self.value) == f'"{self.value}"',
            "usable_until": self.expires_at - min(MAX_CLOCK_DIFFERENCE, _MARGIN_SHARE * self.lifetime),
            "critical_from": self.expires_at - min(CRITICAL_SECONDS, CRITICAL_SHARE * self.lifetime),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    @property
    def memory_bytes(self) -> int:
        """About how many bytes of memory it takes, with its place in a cache."""
        return TOKEN_OVERHEAD + len(self.value)

    @property
    def lifetime(self) -> float:
        """Seconds from minting to expiry."""
        return self.expires_at - self.minted_at

    def remaining(self, now: float) -> float:
        """Seconds until it expires; negative after its expiry."""
        return self.expires_at - now

    def state(self, now: float, steady_now: float | None = None) -> TokenState:
        """The state of the token.

        Args:
            now: Unix time in seconds.
            steady_now: Unix time by a clock that is never stepped; it decides when the token ages. By default `now`.

        """
        if now >= self.usable_until:
            return TokenState.EXPIRED
        if now >= self.critical_from:
            return TokenState.CRITICAL
        return TokenState.AGING if (now if steady_now is None else steady_now) >= self.refresh_at else TokenState.FRESH

    def asked_again_near_its_end(self) -> AccessToken:
        """This token, due for refresh only at twice the critical time before its expiry."""
        return replace(self, refresh_at=max(self.refresh_at, 2 * self.critical_from - self.expires_at))

    def outlives(self, other: AccessToken, behind: float = 0.0) -> bool:
        """Whether this new token is another one than `other`, and expires later, or is of a later epoch.

        Args:
            other: The token before it.
            behind: Seconds by which the clock was set back since `other` was minted.

        """
        if self.epoch != other.epoch:
            return self.epoch > other.epoch
        return self.value != other.value and self.expires_at > other.expires_at - behind + SAME_EXPIRY_SECONDS
