"""``not_before`` of a credential's document: a token that was minted earlier is not served after the document was read.

So a region that a purge did not reach, because it was cut off, forgets the token by itself at its next refresh.
"""

from __future__ import annotations

from app.domain.access_token import MAX_CLOCK_DIFFERENCE
from app.domain.credential import Credential
from app.domain.names import CredentialRef
from app.ports import Clock, CredentialStore
from app.service.epochs import Epochs
from app.service.memory import TokenMemory
from app.service.purges import Purges


class NotBeforeStore:
    """A credential store that heeds the ``not_before`` of each document it reads. See `app.ports.CredentialStore`.

    Args:
        store: Reads the documents.
        memory: The front cache.
        purges: Purges a credential on every replica, if an earlier token is in memory.
        epochs: Refuses earlier tokens of the shared cache.
        clock: Unix time in seconds.

    """

    def __init__(
        self, store: CredentialStore, memory: TokenMemory, purges: Purges, epochs: Epochs, clock: Clock
    ) -> None:
        self._store = store
        self._memory = memory
        self._purges = purges
        self._epochs = epochs
        self._clock = clock

    async def fetch(self, ref: CredentialRef, *, recent_app: bool = False) -> Credential:
        """See `app.ports.CredentialStore.fetch`."""
        credential = await self._store.fetch(ref, recent_app=recent_app)
        if credential.not_before is not None:
            await self._heed(ref, credential.not_before)
        return credential

    async def refs(self) -> tuple[CredentialRef, ...]:
        """See `app.ports.CredentialStore.refs`."""
        return await self._store.refs()

    async def _heed(self, ref: CredentialRef, not_before: float) -> None:
        now = self._clock()
        if not_before > now + MAX_CLOCK_DIFFERENCE:
            return  # Not yet. Otherwise no token could be served until then.
        bound = min(not_before, now)
        self._epochs.bar(ref, bound)
        if any(token.minted_at < bound for token in self._memory.tokens_of(ref)):
            await self._purges.purge(ref)
