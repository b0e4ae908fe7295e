"""The front cache: tokens in the memory of this process. The warm path reads nothing else."""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Callable

from app.domain.access_token import MAX_TOKEN_MEMORY, AccessToken, TokenState
from app.domain.held_token import HeldToken
from app.domain.names import CredentialRef, TokenKey
from app.ports import Clock

KEPT_LATER_SHARE = 0.01
"""The keeper looks at a token up to this share of its life after it is due. So of several replicas that hold the token
one is the first to refresh it, and the others find the new one in the shared cache."""


class TokenMemory:
    """Tokens by key, the least recently stored dropped first.

    Args:
        clock: Unix time in seconds.
        steady: Seconds of a clock that is never stepped.
        limit: Bytes of memory for all tokens.
        limit_of_one: The number of tokens of one credential that are kept. Each set of its scopes is another token, so
            a caller that asks for more and more sets would otherwise drop the tokens of all others.
        draw: Uniform random float between two bounds.

    """

    def __init__(
        self,
        clock: Clock,
        steady: Clock,
        limit: int = MAX_TOKEN_MEMORY,
        limit_of_one: int = 1_000,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._clock = clock
        self._steady = steady
        self._limit = limit
        self._limit_of_one = limit_of_one
        self._draw = draw
        self._tokens: OrderedDict[TokenKey, HeldToken] = OrderedDict()
        self._listeners: tuple[Callable[[HeldToken], None], ...] = ()
        self._used = 0
        # Not dictionaries, which take more memory: most credentials have one token.
        self._keys: dict[CredentialRef, tuple[TokenKey, ...]] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def when_kept(self, notify: Callable[[HeldToken], None]) -> None:
        """Call `notify` with each token that is kept from now on."""
        self._listeners = (*self._listeners, notify)

    def held(self, key: TokenKey) -> HeldToken | None:
        """The token for `key` in any state with its age, or None."""
        return self._tokens.get(key)

    def state(self, key: TokenKey) -> TokenState | None:
        """The present state of the token for `key`, or None if there is none."""
        held = self._tokens.get(key)
        return None if held is None else held.state(self._clock(), self._steady())

    def clock_behind(self, key: TokenKey) -> float:
        """Seconds by which the wall clock is behind, as far as the token for `key` shows; 0 if there is none."""
        held = self._tokens.get(key)
        return 0.0 if held is None else held.clock_behind(self._clock(), self._steady())

    def get(self, key: TokenKey) -> AccessToken | None:
        """The token for `key` in any state, or None."""
        held = self._tokens.get(key)
        return None if held is None else held.token

    def put(self, token: AccessToken, replacing: AccessToken | None = None, behind: float = 0.0) -> None:
        """Keep `token`, unless there is already a later one that is not the one being replaced.

        Args:
            token: The token to keep.
            replacing: The token that it replaces, even if it does not expire later.
            behind: As of `HeldToken`.

        """
        before = self._tokens.get(token.key)
        if before is not None and not self._yields(before, token, replacing):
            return
        held = self._tokens[token.key] = self._new(token, before, behind)
        self._used += token.memory_bytes - (0 if before is None else before.token.memory_bytes)
        self._tokens.move_to_end(token.key)
        others = tuple(key for key in self._keys.get(token.key.ref, ()) if key != token.key)
        keys = self._keys[token.key.ref] = (*others, token.key)
        if len(keys) > self._limit_of_one:
            self._discard(keys[0])
        while self._used > self._limit and len(self._tokens) > 1:
            self._discard(next(iter(self._tokens)))
        for notify in self._listeners:
            notify(held)

    def note_use(self, key: TokenKey) -> None:
        """A request asked for the token for `key`."""
        if (held := self._tokens.get(key)) is not None:
            held.used_at = self._steady()

    def refs(self) -> tuple[CredentialRef, ...]:
        """All credentials that have a token here."""
        return tuple(self._keys)

    def tokens_of(self, ref: CredentialRef) -> tuple[AccessToken, ...]:
        """All tokens of a credential."""
        return tuple(self._tokens[key].token for key in self._keys.get(ref, ()))

    def drop(self, ref: CredentialRef) -> None:
        """Drop all tokens of a credential."""
        for key in self._keys.get(ref, ()):
            self._discard(key)

    def states(self, now: float) -> dict[str, int]:
        """The number of tokens in each state at `now`."""
        steady = self._steady()
        return dict(Counter(held.state(now, steady).value for held in self._tokens.values()))

    def _new(self, token: AccessToken, before: HeldToken | None, behind: float) -> HeldToken:
        steady = self._steady()
        lead = self._clock() - steady
        due = token.refresh_at - lead + self._draw(0.0, KEPT_LATER_SHARE * token.lifetime)
        # A refresh does not count as a use. The first time it is kept does, because a request asked for it.
        return HeldToken(token, lead, behind, steady if before is None else before.used_at, due)

    def _discard(self, key: TokenKey) -> None:
        self._used -= self._tokens.pop(key).token.memory_bytes
        others = tuple(other for other in self._keys[key.ref] if other != key)
        if others:
            self._keys[key.ref] = others
        else:
            del self._keys[key.ref]

    def _yields(self, before: HeldToken, token: AccessToken, replacing: AccessToken | None) -> bool:
        held = before.token
        if replacing is not None and held.sha256 == replacing.sha256:
            return True
        if held.sha256 == token.sha256:
            # It may come back with a later refresh, because IMS issues no other one before it ends.
            return (held.epoch, held.refresh_at) < (token.epoch, token.refresh_at)
        # A clock that was set back since must not make the new token seem older.
        its_end = held.expires_at - self.clock_behind(held.key)
        return (held.epoch, its_end) < (token.epoch, token.expires_at)
