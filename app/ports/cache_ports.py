"""Ports to what the replicas share: tokens, purges, leases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from app.domain.access_token import AccessToken
from app.domain.cache_entry import CacheEntry, Purge, StoreOutcome
from app.domain.fleet_limit import ShareClaim, Shares
from app.domain.learned_rate import BudgetKey
from app.domain.names import CredentialRef, TokenKey


class TokenCache(Protocol):
    """The tokens that replicas share.

    Every method raises `CacheUnavailableError` if the cache cannot be reached: within a quarter of a second, or within
    3 s if the event loop itself is late.
    An outage costs each replica at most one exchange per token; no caller sees an error.
    """

    async def read(self, key: TokenKey) -> CacheEntry:
        """What is known about `key`. A record that is corrupt, foreign or of an unknown version is a miss.

        A token that an older key sealed is sealed again, with its life unchanged.
        """
        ...

    async def store(self, token: AccessToken, replacing: AccessToken | None = None) -> StoreOutcome:
        """Store `token` if it is of the current epoch and expires later than the stored one.

        Whether it is stored or not, this may also give back a lease for its key that this replica holds.

        Args:
            token: The token to store.
            replacing: A token that Adobe refused. It may be replaced even by one that does not expire later.

        """
        ...

    async def hold(self, ref: CredentialRef, seconds: float) -> None:
        """Let all replicas back off from IMS with `ref` for `seconds`."""
        ...

    async def claim_replacement(self, ref: CredentialRef, window: float) -> bool:
        """Claim the one replacement of a reported token per `window` seconds; False if it is taken."""
        ...

    async def return_replacement(self, ref: CredentialRef) -> None:
        """Give back a claim after a failed exchange."""
        ...


class ExchangeBudget(Protocol):
    """How often IMS may be called with one client, shared by the replicas.

    Every method raises `CacheUnavailableError` as those of `TokenCache` do. An outage leaves each replica with a budget
    of its own.
    """

    async def take(self, key: BudgetKey, *, was_refused: bool) -> float:
        """Take one call; 0 if it may be made now, else the seconds after which to ask again.

        Args:
            key: The client.
            was_refused: Whether IMS refused the credential last time; all of these have a small part only.

        """
        ...

    async def throttled(self, key: BudgetKey) -> None:
        """Note that IMS answered 429: the rate is halved, and rises again with time."""
        ...


class LimitShares(Protocol):
    """The limits of callers that all replicas share.

    Every method raises `CacheUnavailableError` as those of `TokenCache` do. During an outage each replica enforces its
    part of each limit.
    """

    async def lease(self, replica: str, claims: Mapping[str, ShareClaim]) -> Shares:
        """Lease requests.

        Args:
            replica: The replica that asks: a random name of this process.
            claims: Its claims, by the caller's name. If empty, the replica is only counted.

        """
        ...


class PurgeLog(Protocol):
    """The purges that replicas share: a counter (epoch) per credential, and a stream that announces each change.

    Every method raises `CacheUnavailableError` as those of `TokenCache` do.
    An outage delays a purge on the other replicas until the log is back; the replica that was asked forgets at once.
    """

    async def raise_epoch(self, ref: CredentialRef, above: int, *, in_background: bool = False) -> int:
        """Raise the purge counter above its present value and above `above`, announce it, and return it.

        In the background no request waits for it, so it may take seconds.
        """
        ...

    async def epochs(self, refs: Sequence[CredentialRef]) -> Sequence[int]:
        """The purge counters of `refs`, in their order; 0 for one that was never raised, or was lost."""
        ...

    async def restore_epoch(self, ref: CredentialRef, epoch: int) -> None:
        """Raise a purge counter that was lost to at least `epoch` again, and announce it if it was lower."""
        ...

    def purges(self) -> AsyncIterator[Purge]:
        """Purges as they happen, without end; raises `CacheUnavailableError` if the connection is lost."""
        ...


class Lease(Protocol):
    """One replica's right to exchange for one key. It saves exchanges; nothing breaks if it is lost or doubled.

    Every method raises `CacheUnavailableError` as those of `TokenCache` do.
    """

    async def acquire(self, key: TokenKey) -> str | None:
        """The holder's random value, or None if another replica holds the lease."""
        ...

    async def renew(self, key: TokenKey, holder: str) -> bool:
        """Go on holding; False if the lease was lost."""
        ...

    async def release(self, key: TokenKey, holder: str) -> None:
        """Give the lease back if it is still ours."""
        ...
