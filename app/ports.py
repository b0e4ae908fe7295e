"""The ports: interfaces to external systems, on one screen. Each docstring says what an outage means for the caller.

All implementations are safe for concurrent use by the tasks of one event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from app.domain.access_token import AccessToken
from app.domain.cache_entry import CacheEntry, Purge, StoreOutcome
from app.domain.credential import Credential
from app.domain.events import Event
from app.domain.grant import Grant, IssuedToken
from app.domain.identity import Identity, Issuer
from app.domain.names import CredentialRef, TokenKey
from app.domain.policy import Policy

Clock = Callable[[], float]
"""Unix time in seconds."""

CertificateEnd = Callable[[str], float]
"""Unix time in seconds at which a PEM certificate ends."""

Result = TypeVar("Result")


class CallerVerifier(Protocol):
    """Proves who sent a JWT. An outage of an issuer's keys: the last good set serves up to its stated age."""

    def trust(self, issuers: tuple[Issuer, ...]) -> None:
        """Trust exactly these issuers from now on; their keys are fetched in the background."""
        ...

    async def verify(self, unverified_jwt: bytes) -> Identity:
        """Verify a JWT.

        Raises:
            UnauthenticatedError: It proves nothing, whatever the reason.
            IdentityUnavailableError: Its issuer is trusted, but its keys are unavailable.

        """
        ...


class PolicySource(Protocol):
    """Where the policy comes from. An outage leaves the last good policy in force."""

    async def load(self) -> Policy | None:
        """The policy, or None if the source has not changed since the last successful call.

        Raises:
            PolicyError: The file is missing, unreadable or bad; it is refused as a whole.

        """
        ...


class CredentialStore(Protocol):
    """Where tenants' credentials live. An outage: no new exchange; tokens already minted are served to their end."""

    async def fetch(self, ref: CredentialRef) -> Credential:
        """Read the current version of a credential.

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

    async def sign(self, credential: Credential, claims: Mapping[str, object]) -> str:
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


class TokenCache(Protocol):
    """The tokens that replicas share.

    Every method raises `CacheUnavailableError` if the cache cannot be reached: within a quarter of a second, or within
    3 s if the event loop itself is late.
    An outage costs each replica at most one exchange per token; no caller sees an error.
    """

    async def read(self, key: TokenKey) -> CacheEntry:
        """What is known about `key`. A record that is corrupt, foreign or of an unknown version is a miss."""
        ...

    async def store(self, token: AccessToken, replacing: AccessToken | None = None) -> StoreOutcome:
        """Store `token` if it is of the current epoch and expires later than the stored one.

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


class PurgeLog(Protocol):
    """The purges that replicas share: a counter (epoch) per credential, and a stream that announces each change.

    Every method raises `CacheUnavailableError` as those of `TokenCache` do.
    An outage delays a purge on the other replicas until the log is back; the replica that was asked forgets at once.
    """

    async def raise_epoch(self, ref: CredentialRef, above: int) -> int:
        """Raise the purge counter above its present value and above `above`, announce it, and return it."""
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


class EventSink(Protocol):
    """Listens to events. It never blocks and never raises."""

    def emit(self, event: Event) -> None:
        """Note `event`."""
        ...


class Tracer(Protocol):
    """Draws spans around a vend. It never blocks, and raises nothing of its own.

    It exists for what events cannot say: what encloses what, and who waits for whom.
    """

    def vend(self, ref: CredentialRef) -> AbstractContextManager[None]:
        """Encloses one request's search for a token of `ref`."""
        ...

    def call(
        self, key: TokenKey, start: Callable[[], Coroutine[Any, Any, Result]], *, in_background: bool
    ) -> Coroutine[Any, Any, Result]:
        """The call `start()`, enclosed. It belongs to the request that starts it, or to none if in the background."""
        ...

    def joins(self, key: TokenKey) -> None:
        """Note that the current request waits for a call that another request started."""
        ...
