"""The outside world on one screen. Each docstring says what an outage means for the caller.

All implementations are safe for concurrent use by the tasks of one event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from app.domain.access_token import AccessToken
from app.domain.credential import Credential, JwtCredential
from app.domain.events import Event
from app.domain.grant import Grant, IssuedToken
from app.domain.identity import Identity, Issuer
from app.domain.names import CredentialRef, TokenKey
from app.domain.policy import Policy

Clock = Callable[[], float]
"""Unix time in seconds."""

MAX_HOLD = 3600.0
"""Seconds. What IMS asks for beyond that counts as this (product section 9)."""


class CallerVerifier(Protocol):
    """Proves who sent a JWT. An outage of an issuer's keys: the last good set serves up to its stated age."""

    def trust(self, issuers: tuple[Issuer, ...]) -> None:
        """Trust exactly these issuers from now on; their keys are fetched in the background."""
        ...

    async def verify(self, unverified_jwt: bytes) -> Identity:
        """Verify a JWT.

        Raises:
            UnauthenticatedError: It proves nothing, whatever the reason.
            IdentityUnavailableError: Its issuer is trusted, but no keys of it can be had.

        """
        ...


class PolicySource(Protocol):
    """Where the policy comes from. An outage leaves the last good policy in force."""

    async def load(self) -> Policy | None:
        """The policy, or None where the source has not changed since the last successful call.

        Raises:
            PolicyError: The file is missing, unreadable or bad; it is refused as a whole.

        """
        ...


class CredentialStore(Protocol):
    """Where tenants' credentials live. An outage: no new exchange; tokens already minted are served to their end."""

    async def fetch(self, ref: CredentialRef) -> Credential:
        """Read a credential as it is now.

        Raises:
            CredentialNotFoundError: Nothing is stored there.
            CredentialMisconfiguredError: The document is defective.
            CredentialStoreError: The store cannot be read.

        """
        ...

    async def refs(self) -> tuple[CredentialRef, ...]:
        """All credentials stored, sorted.

        Raises:
            CredentialStoreError: The store cannot be read, or does not let the broker list.

        """
        ...


class AssertionSigner(Protocol):
    """Signs assertions. An outage (of a remote signer) means the same as one of the credential store."""

    async def sign(self, credential: JwtCredential, claims: Mapping[str, object]) -> str:
        """Sign `claims` with RS256 as a compact JWS.

        Raises:
            CredentialMisconfiguredError: The key cannot be used; the detail names the field.
            CredentialStoreError: The remote signer does not answer.

        """
        ...


class TokenExchanger(Protocol):
    """IMS. An outage: no new exchange; tokens already minted are served to their end."""

    async def exchange(self, grant: Grant) -> IssuedToken:
        """Present a grant.

        Raises:
            CredentialRejectedError: IMS refused it; permanent for this generation.
            BadUpstreamResponseError: The answer is not a token we may trust.
            ImsUnavailableError: No answer, or a transient failure with its delay.

        """
        ...


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What the shared cache knows about a key.

    Args:
        token: The token, unexpired or not, or None.
        epoch: The purge counter of the credential.
        hold: Seconds for which IMS asked not to be called with this credential again; 0 where it did not.

    """

    token: AccessToken | None
    epoch: int
    hold: float = 0.0


class StoreOutcome(Enum):
    """What became of a write to the shared cache."""

    STORED = "stored"
    OLDER = "older"
    STALE_EPOCH = "stale_epoch"


@dataclass(frozen=True, slots=True)
class Purge:
    """Another replica (or this one) raised the epoch of `ref` to `epoch`. `ref` None: some may have been missed."""

    ref: CredentialRef | None
    epoch: int


class TokenCache(Protocol):
    """The cache that replicas share.

    Every method raises `CacheUnavailableError` soon when the cache cannot be reached: within a quarter of a
    second, or 3 s where the event loop itself is late.
    An outage costs each replica at most one exchange per token; no caller sees an error.
    """

    async def read(self, key: TokenKey) -> CacheEntry:
        """What is known about `key`. A record that is corrupt, foreign or of an unknown version is a miss."""
        ...

    async def store(self, token: AccessToken, replacing: AccessToken | None = None) -> StoreOutcome:
        """Store `token` if it is of the current epoch and expires later than what is there.

        Args:
            token: The token to store.
            replacing: A token that was refused by Adobe and may be replaced even by one that expires no later.

        """
        ...

    async def raise_epoch(self, ref: CredentialRef, above: int) -> int:
        """Raise the purge counter over its present value and over `above`, tell all replicas, and return it."""
        ...

    async def hold(self, ref: CredentialRef, seconds: float) -> None:
        """Tell all replicas that IMS asked not to be called with `ref` for `seconds`."""
        ...

    async def claim_replacement(self, ref: CredentialRef, window: float) -> bool:
        """Claim the one replacement of a reported token that `window` seconds allow; False where it is taken."""
        ...

    async def return_replacement(self, ref: CredentialRef) -> None:
        """Give a claim back that came to nothing."""
        ...

    async def epochs(self, refs: Sequence[CredentialRef]) -> Sequence[int]:
        """The purge counters of `refs`, in their order; 0 for one that was never raised, or lost."""
        ...

    async def restore_epoch(self, ref: CredentialRef, epoch: int) -> None:
        """Raise a purge counter that was lost to at least `epoch` again, and tell all replicas where it was lower."""
        ...

    def purges(self) -> AsyncIterator[Purge]:
        """Purges as they happen, for ever; raises `CacheUnavailableError` when the connection is lost."""
        ...


class Lease(Protocol):
    """One replica's right to exchange for one key. It saves exchanges; nothing breaks where it is lost or doubled."""

    async def acquire(self, key: TokenKey) -> str | None:
        """The holder's random value, or None where somebody else holds it.

        Raises:
            CacheUnavailableError: The shared cache cannot be reached.

        """
        ...

    async def renew(self, key: TokenKey, holder: str) -> bool:
        """Go on holding; False where the lease was lost.

        Raises:
            CacheUnavailableError: The shared cache cannot be reached.

        """
        ...

    async def release(self, key: TokenKey, holder: str) -> None:
        """Give the lease back if it is still ours.

        Raises:
            CacheUnavailableError: The shared cache cannot be reached.

        """
        ...


class EventSink(Protocol):
    """Listens to events. It never blocks and never raises."""

    def emit(self, event: Event) -> None:
        """Take note of `event`."""
        ...
