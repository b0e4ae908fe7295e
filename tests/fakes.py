"""One fake per port. Each records its calls, and a test can make it fail or pause.

Time is a `ManualClock`; events decide the order of two tasks, never sleeping.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from app.adapters.memory_cache import MemoryLease, MemoryPurgeLog, MemoryTokenCache
from app.domain.access_token import AccessToken
from app.domain.cache_entry import CacheEntry, Purge, StoreOutcome
from app.domain.credential import Credential
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.errors import UnauthenticatedError
from app.domain.grant import Grant, IssuedToken
from app.domain.identity import Identity, Issuer
from app.domain.names import CredentialRef, OrgId, TokenKey
from app.domain.policy import Policy
from app.domain.refusal_reason import RefusalReason
from app.domain.tenant_errors import CredentialNotFoundError

NOW = 1_900_000_000.0
DAY = 86_400.0
E = TypeVar("E")


class ManualClock:
    """Unix time in seconds that only `advance` moves."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        """The present time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass, or run backwards."""
        self.now += seconds


class PausableCalls:
    """Calls that a test can pause; it can wait until one has begun."""

    def __init__(self) -> None:
        self._running = asyncio.Event()
        self._running.set()
        self._begun = asyncio.Event()

    def pause(self) -> None:
        """Let no call continue until `resume`."""
        self._running.clear()
        self._begun.clear()

    def resume(self) -> None:
        """Let all calls continue."""
        self._running.set()

    async def one_waits(self) -> None:
        """Wait until a call has begun."""
        await asyncio.wait_for(self._begun.wait(), 5.0)

    async def begin(self) -> None:
        """Begin a call: wait while calls are paused."""
        self._begun.set()
        await self._running.wait()


class FakeCredentialStore:
    """Credentials in memory."""

    def __init__(self, *credentials: Credential) -> None:
        self.documents: dict[CredentialRef, Credential] = {credential.ref: credential for credential in credentials}
        self.fetches: list[CredentialRef] = []
        self.recent_app: list[bool] = []
        self.failure: Exception | None = None
        self.calls = PausableCalls()

    def put(self, credential: Credential) -> None:
        """Store `credential`, replacing the one of the same ref."""
        self.documents[credential.ref] = credential

    async def fetch(self, ref: CredentialRef, *, recent_app: bool = False) -> Credential:
        """As `CredentialStore.fetch`."""
        self.fetches.append(ref)
        self.recent_app.append(recent_app)
        await self.calls.begin()
        if self.failure is not None:
            raise self.failure
        if ref not in self.documents:
            raise CredentialNotFoundError
        return self.documents[ref]

    async def refs(self) -> tuple[CredentialRef, ...]:
        """As `CredentialStore.refs`."""
        if self.failure is not None:
            raise self.failure
        return tuple(sorted(self.documents))


class FakeSigner:
    """Signs nothing: the assertion names the key it would have used."""

    def __init__(self, name: str = "key") -> None:
        self.name = name
        self.signed: list[Mapping[str, object]] = []

    async def sign(self, credential: Credential, claims: Mapping[str, object]) -> str:
        """As `AssertionSigner.sign`."""
        self.signed.append(claims)
        return f"{self.name}.{credential.generation}.assertion"


class FakeExchanger:
    """IMS: issues a token that names its org, client and number, in the order asked.

    With `repeats` it issues the same token of an org again until that ends.
    """

    def __init__(self, clock: ManualClock, lifetime: float = DAY) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.grants: list[Grant] = []
        self._calls: dict[OrgId, PausableCalls] = {}
        self.failures: dict[OrgId, Exception] = {}
        self.refused_secrets: dict[str, Exception] = {}
        self.before: Callable[[Grant], Awaitable[None]] | None = None
        self.repeats = False
        self._last: dict[OrgId, IssuedToken] = {}
        self.running = 0
        self.most_at_once = 0

    def calls(self, org: OrgId) -> PausableCalls:
        """The exchanges of `org`."""
        return self._calls.setdefault(org, PausableCalls())

    async def exchange(self, grant: Grant) -> IssuedToken:
        """As `TokenExchanger.exchange`."""
        self.grants.append(grant)
        number = len(self.grants)
        org = grant.credential.ref.org
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await self.calls(org).begin()
            if self.before is not None:
                await self.before(grant)
        finally:
            self.running -= 1
        refusal = self.refused_secrets.get(grant.form["client_secret"]) or self.failures.get(org)
        if refusal is not None:
            raise refusal
        last = self._last.get(org)
        if self.repeats and last is not None and last.expires_at > self.clock():
            return replace(last, issued_at=self.clock())
        value = f"eyJ.{number}.{grant.credential.client_id}.{org}.{'+'.join(grant.scopes)}"
        issued = self._last[org] = IssuedToken(value, grant.scopes, self.clock(), self.clock() + self.lifetime)
        return issued


class FakeVerifier:
    """Verifies the JWTs that it was given."""

    def __init__(self) -> None:
        self.known: dict[bytes, Identity] = {}
        self.refused: dict[bytes, UnauthenticatedError] = {}
        """Why others are refused, if not because they are malformed."""
        self.issuers: tuple[Issuer, ...] = ()
        self.verified: list[bytes] = []
        self.failure: Exception | None = None
        self.calls = PausableCalls()

    def trust(self, issuers: tuple[Issuer, ...]) -> None:
        """As `CallerVerifier.trust`."""
        self.issuers = issuers

    async def verify(self, unverified_jwt: bytes) -> Identity:
        """As `CallerVerifier.verify`."""
        self.verified.append(unverified_jwt)
        await self.calls.begin()
        if self.failure is not None:
            raise self.failure
        if unverified_jwt not in self.known:
            raise self.refused.get(unverified_jwt) or UnauthenticatedError(RefusalReason.MALFORMED)
        return self.known[unverified_jwt]


class FakePolicySource:
    """A policy that a test changes; like the file, it is None if nothing changed since the last success."""

    def __init__(self, policy: Policy) -> None:
        self.content: Policy | Exception = policy
        self._accepted: Policy | None = None

    async def load(self) -> Policy | None:
        """As `PolicySource.load`."""
        if isinstance(self.content, Exception):
            raise self.content
        if self.content is self._accepted:
            return None
        self._accepted = self.content
        return self.content


class FakeConnection:
    """The connection to the shared cache; `calls` names every operation, failed ones too."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_down = False

    async def reach(self, operation: str) -> None:
        """Record a call, and fail if the connection is down."""
        self.calls.append(operation)
        await asyncio.sleep(0)
        if self.is_down:
            raise CacheUnavailableError("down")


class FakePurgeLog:
    """The memory purge log over a connection that can break."""

    def __init__(self, connection: FakeConnection) -> None:
        self.connection = connection
        self.inner = MemoryPurgeLog()

    async def raise_epoch(self, ref: CredentialRef, above: int, *, in_background: bool = False) -> int:
        """As `PurgeLog.raise_epoch`."""
        await self.connection.reach("raise_epoch")
        return await self.inner.raise_epoch(ref, above)

    async def epochs(self, refs: Sequence[CredentialRef]) -> Sequence[int]:
        """As `PurgeLog.epochs`."""
        await self.connection.reach("epochs")
        return await self.inner.epochs(refs)

    async def restore_epoch(self, ref: CredentialRef, epoch: int) -> None:
        """As `PurgeLog.restore_epoch`."""
        await self.connection.reach("restore_epoch")
        await self.inner.restore_epoch(ref, epoch)

    def forget_epochs(self) -> None:
        """Lose all purge counters, as a Redis does that was restarted empty."""
        self.inner._epochs.clear()

    async def purges(self) -> AsyncIterator[Purge]:
        """As `PurgeLog.purges`."""
        await self.connection.reach("purges")
        async for purge in self.inner.purges():
            yield purge


class FakeCache:
    """The memory token cache over the connection of its purge log."""

    def __init__(self, clock: ManualClock, purge_log: FakePurgeLog, steady: ManualClock | None = None) -> None:
        self._inner = MemoryTokenCache(clock, purge_log.inner, steady or clock)
        self._connection = purge_log.connection
        self.before_store: Callable[[AccessToken], Awaitable[None]] | None = None

    @property
    def calls(self) -> list[str]:
        """The operations on the connection, those of the purge log included."""
        return self._connection.calls

    async def read(self, key: TokenKey) -> CacheEntry:
        """As `TokenCache.read`."""
        await self._connection.reach("read")
        return await self._inner.read(key)

    async def store(self, token: AccessToken, replacing: AccessToken | None = None) -> StoreOutcome:
        """As `TokenCache.store`."""
        if self.before_store is not None:
            await self.before_store(token)
        await self._connection.reach("store")
        return await self._inner.store(token, replacing)

    async def hold(self, ref: CredentialRef, seconds: float) -> None:
        """As `TokenCache.hold`."""
        await self._connection.reach("hold")
        await self._inner.hold(ref, seconds)

    async def claim_replacement(self, ref: CredentialRef, window: float) -> bool:
        """As `TokenCache.claim_replacement`."""
        await self._connection.reach("claim_replacement")
        return await self._inner.claim_replacement(ref, window)

    async def return_replacement(self, ref: CredentialRef) -> None:
        """As `TokenCache.return_replacement`."""
        await self._connection.reach("return_replacement")
        await self._inner.return_replacement(ref)


class FakeLease:
    """The memory lease over a connection that can break."""

    def __init__(self, clock: ManualClock) -> None:
        self._inner = MemoryLease(clock)
        self.tried = 0
        self.acquired = 0
        self.released = 0
        self.is_down = False

    def _reach(self) -> None:
        if self.is_down:
            raise CacheUnavailableError("down")

    async def acquire(self, key: TokenKey) -> str | None:
        """As `Lease.acquire`."""
        self.tried += 1
        self._reach()
        holder = await self._inner.acquire(key)
        self.acquired += holder is not None
        return holder

    async def renew(self, key: TokenKey, holder: str) -> bool:
        """As `Lease.renew`."""
        self._reach()
        return await self._inner.renew(key, holder)

    async def release(self, key: TokenKey, holder: str) -> None:
        """As `Lease.release`."""
        self._reach()
        await self._inner.release(key, holder)
        self.released += 1
