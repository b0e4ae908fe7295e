"""Mints a token from a tenant's credential: read, sign, exchange. It uses neither cache nor lease."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass

from cachetools import LRUCache

from app.domain.access_token import AccessToken
from app.domain.credential import Credential
from app.domain.events import CertificateSeen
from app.domain.grant import IssuedToken
from app.domain.names import CredentialRef, Scope, TokenKey
from app.domain.tenant_errors import CredentialRejectedError
from app.ports import AssertionSigner, CertificateEnd, Clock, CredentialStore, EventSink, TokenExchanger
from app.service.present import Presenter

REFRESH_WINDOW = (0.45, 0.55)
"""The share of the lifetime after which a token is refreshed; drawn once between these bounds, as SPIRE does."""


REJECTED_SECONDS = 60.0
"""A document that IMS rejected twice in a row is not sent again for this time. A changed one is sent at once."""

FREE_LOOKS = 10
"""So many requests read a rejected document again at once, so that a repaired one is used at once."""

LOOK_PAUSE = 1.0
"""Seconds between two later looks: not every request for a broken tenant may cost a call to Vault."""

MAX_REMEMBERED_ANSWERS = 10_000
"""The number of rejections, and of accepted secrets, that are remembered."""


@dataclass(slots=True)
class _Rejection:
    """The last rejections for a key, all for one document and epoch."""

    document: tuple[str, int]
    error: CredentialRejectedError
    times: int
    at: float
    looks: int = 0
    looked_at: float = 0.0

    def lasts(self, now: float) -> bool:
        """Whether it answers for IMS at `now`. A clock that was set back ends it."""
        return self.times >= 2 and 0.0 <= now - self.at < REJECTED_SECONDS

    def may_look(self, now: float) -> bool:
        """Whether a request may read the document again, which may have been repaired; counts it."""
        if self.looks >= FREE_LOOKS and 0.0 <= now - self.looked_at < LOOK_PAUSE:
            return False
        self.looks, self.looked_at = self.looks + 1, now
        return True


Admit = Callable[[Credential], Awaitable[None]]
"""Called before each exchange of a grant; it raises an error if IMS may not be called now."""


async def _unlimited(_credential: Credential) -> None:
    """Admit every exchange."""


class Minter:
    """Mints tokens.

    Args:
        store: The credential store.
        signers: The signer of each scheme of keys (`SigningKey`).
        exchanger: Exchanges grants at IMS.
        not_after: Returns when a PEM certificate expires.
        sink: Listens to events.
        clock: Unix time in seconds.
        draw: Uniform random float between two bounds.

    """

    def __init__(
        self,
        store: CredentialStore,
        signers: Mapping[str, AssertionSigner],
        exchanger: TokenExchanger,
        not_after: CertificateEnd,
        sink: EventSink,
        clock: Clock,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._store = store
        self._presenter = Presenter(signers, exchanger, clock)
        self._not_after = not_after
        self._sink = sink
        self._clock = clock
        self._draw = draw
        # The client secret that was accepted last. So a refused one costs one exchange, not one exchange each time,
        # and not one for each org of an app.
        self._accepted = LRUCache[Hashable, int](MAX_REMEMBERED_ANSWERS)
        # By key, not by credential, because IMS may refuse only one of its scopes.
        self._rejected = LRUCache[TokenKey, _Rejection](MAX_REMEMBERED_ANSWERS)

    async def mint(self, key: TokenKey, epoch: int, admit: Admit = _unlimited) -> AccessToken:
        """Mint a token for `key`, stamped with `epoch`, if `admit` lets it.

        A refusal may mean that the document, or its app's, was rotated since it was read. So both are read once more,
        and if one has changed, the new one is tried. After a purge nothing that was read before it is used.

        Raises:
            TenantError: The credential of this tenant does not work.
            InvalidScopeError: The credential does not have a scope that was asked for.
            DependencyError: Vault or IMS does not answer.

        """
        self._refuse_unread(key, epoch)
        credential = await self._fetch(key.ref, recent_app=epoch == 0)
        self._refuse_rejected(key, (credential.generation, epoch))
        try:
            return await self._mint_with(credential, key, epoch, admit)
        except CredentialRejectedError:
            again = await self._fetch(key.ref, recent_app=False)
            if again.generation == credential.generation:
                raise
            return await self._mint_with(again, key, epoch, admit)

    def _refuse_rejected(self, key: TokenKey, document: tuple[str, int]) -> None:
        known = self._rejected.get(key)
        if known is not None and known.document == document and known.lasts(self._clock()):
            raise known.error.copied()

    def _refuse_unread(self, key: TokenKey, epoch: int) -> None:
        known, now = self._rejected.get(key), self._clock()
        if known is not None and known.document[1] == epoch and known.lasts(now) and not known.may_look(now):
            raise known.error.copied()

    def _note_rejection(self, key: TokenKey, document: tuple[str, int], error: CredentialRejectedError) -> None:
        known = self._rejected.pop(key, None)
        times = known.times if known is not None and known.document == document else 0
        self._rejected[key] = _Rejection(document, error.copied(), times + 1, self._clock())

    async def _fetch(self, ref: CredentialRef, *, recent_app: bool) -> Credential:
        credential = await self._store.fetch(ref, recent_app=recent_app)
        if credential.certificate is not None:
            self._sink.emit(CertificateSeen(ref, self._not_after(credential.certificate)))
        return credential

    async def _mint_with(self, credential: Credential, key: TokenKey, epoch: int, admit: Admit) -> AccessToken:
        scopes = key.selection.of(credential.scopes)
        document = (credential.generation, epoch)
        await admit(credential)
        try:
            issued = await self._exchange(credential, scopes)
        except CredentialRejectedError as error:
            self._note_rejection(key, document, error)
            raise
        self._rejected.pop(key, None)
        life = issued.expires_at - issued.issued_at
        return AccessToken(
            key=key,
            value=issued.value,
            client_id=credential.client_id,
            kind=credential.kind,
            ims_base_url=credential.ims_base_url,
            scopes=issued.scopes,
            generation=credential.generation,
            epoch=epoch,
            minted_at=issued.issued_at,
            expires_at=issued.expires_at,
            refresh_at=issued.issued_at + life * self._draw(*REFRESH_WINDOW),
            sandbox=credential.sandbox,
        )

    async def _exchange(self, credential: Credential, scopes: tuple[Scope, ...]) -> IssuedToken:
        """Try the client secrets in order, first the one that was accepted last."""
        refusal: CredentialRejectedError | None = None
        for number in self._order(credential):
            try:
                issued = await self._presenter.present(credential, scopes, number)
            except CredentialRejectedError as error:
                if not error.secret_refused:
                    raise
                refusal = refusal or error.copied()
            else:
                self._accepted[credential.secrets_version] = number
                return issued
        assert refusal is not None  # noqa: S101  # a credential has one or two secrets, so the loop ran
        raise refusal.copied()

    def _order(self, credential: Credential) -> tuple[int, ...]:
        first = self._accepted.get(credential.secrets_version, 0)
        others = (number for number in range(len(credential.client_secrets)) if number != first)
        return (first, *others)
