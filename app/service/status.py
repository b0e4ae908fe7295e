"""The status of a caller's tenants: kind, generation, state of the token, last error. Never a secret."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from app.domain.access_token import AccessToken
from app.domain.cache_entry import CacheEntry
from app.domain.credential import Credential
from app.domain.dependency_errors import CredentialStoreError
from app.domain.errors import BrokerError
from app.domain.names import CredentialRef, TokenKey
from app.domain.policy import Action, Caller
from app.ports import CertificateEnd, Clock, CredentialStore, TokenCache
from app.service.vend import TokenVendor

CONCURRENT_READS = 8


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """The status of one credential. Times are Unix time in seconds.

    Args:
        ref: The credential.
        kind: Its kind, or None if its document cannot be read.
        generation: The version of its document, or None.
        certificate_expires_at: When its certificate expires, or None.
        token: The token that would be served now for all scopes, or None.
        token_state: ``fresh``, ``aging``, ``critical``, ``expired``, or ``absent``.
        last_error: The code of its last error on this replica, or of the error of reading its document; or None.

    """

    ref: CredentialRef
    kind: str | None
    generation: str | None
    certificate_expires_at: float | None
    token: AccessToken | None
    token_state: str
    last_error: str | None


@dataclass(slots=True)
class _Outage:
    """Whether the store failed for this page. Then the rest is not read: each read would wait for its deadline."""

    error: CredentialStoreError | None = None


class StatusReader:
    """Reads the status of the credentials that a caller may see.

    Args:
        store: The credential store.
        cache: The shared cache.
        vendor: Has the tokens in the memory of this replica.
        not_after: Returns when a PEM certificate expires.
        clock: Unix time in seconds.

    """

    def __init__(
        self,
        store: CredentialStore,
        cache: TokenCache,
        vendor: TokenVendor,
        not_after: CertificateEnd,
        clock: Clock,
    ) -> None:
        self._store = store
        self._cache = cache
        self._vendor = vendor
        self._not_after = not_after
        self._clock = clock
        self._reading = asyncio.Semaphore(CONCURRENT_READS)

    async def page(
        self, caller: Caller, after: CredentialRef | None, limit: int
    ) -> tuple[list[CredentialStatus], CredentialRef | None]:
        """At most `limit` credentials after `after`, in order, and the last of them if more follow.

        Raises:
            CredentialStoreError: The store cannot list the credentials, which a rule for every org needs.

        """
        refs = sorted(await self._visible(caller))
        rest = refs if after is None else [ref for ref in refs if ref > after]
        chosen = rest[:limit]
        outage = _Outage()
        statuses = await asyncio.gather(*(self._status(ref, outage) for ref in chosen))
        return list(statuses), chosen[-1] if len(rest) > limit else None

    async def _visible(self, caller: Caller) -> set[CredentialRef]:
        named = set(caller.named(Action.STATUS))
        names = caller.everywhere(Action.STATUS)
        if names:
            named.update(ref for ref in await self._store.refs() if ref.name in names)
        return named

    async def _status(self, ref: CredentialRef, outage: _Outage) -> CredentialStatus:
        async with self._reading:
            token = await self._token(ref)
            state = "absent" if token is None else token.state(self._clock()).value
            try:
                credential = await self._fetch(ref, outage)
                not_after = None if credential.certificate is None else self._not_after(credential.certificate)
            except BrokerError as error:
                kind = None if token is None else token.kind
                generation = None if token is None else token.generation
                return CredentialStatus(ref, kind, generation, None, token, state, error.code)
        last_error = self._vendor.last_error(ref)
        return CredentialStatus(ref, credential.kind, credential.generation, not_after, token, state, last_error)

    async def _fetch(self, ref: CredentialRef, outage: _Outage) -> Credential:
        if outage.error is not None:
            raise outage.error.copied()
        try:
            return await self._store.fetch(ref, recent_app=True)
        except CredentialStoreError as error:
            outage.error = error.copied()
            raise

    async def _token(self, ref: CredentialRef) -> AccessToken | None:
        """The token in memory that expires last, or else the token for all scopes in the shared cache."""
        held = self._vendor.tokens_of(ref)
        if held:
            return max(held, key=lambda token: token.expires_at)
        try:
            entry: CacheEntry = await self._cache.read(TokenKey(ref))
        except BrokerError:
            return None
        return entry.token
