"""The front cache: tokens in the memory of this process. The warm path reads nothing else."""

from __future__ import annotations

from collections import Counter, OrderedDict

from app.domain.access_token import AccessToken
from app.domain.names import CredentialRef, TokenKey


class TokenMemory:
    """Tokens by key, the least recently stored dropped first.

    Args:
        limit: The number of tokens that are kept.
        limit_of_one: The number of tokens of one credential that are kept. Each set of its scopes is another token, so
            a caller that asks for more and more sets would otherwise drop the tokens of all others.

    """

    def __init__(self, limit: int = 200_000, limit_of_one: int = 1_000) -> None:
        self._limit = limit
        self._limit_of_one = limit_of_one
        self._tokens: OrderedDict[TokenKey, AccessToken] = OrderedDict()
        self._keys: dict[CredentialRef, OrderedDict[TokenKey, None]] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def get(self, key: TokenKey) -> AccessToken | None:
        """The token for `key` in any state, or None."""
        return self._tokens.get(key)

    def put(self, token: AccessToken, replacing: AccessToken | None = None) -> None:
        """Keep `token`, unless there is already a later one that is not the one being replaced."""
        held = self._tokens.get(token.key)
        if held is not None and not _yields(held, token, replacing):
            return
        self._tokens[token.key] = token
        self._tokens.move_to_end(token.key)
        keys = self._keys.setdefault(token.key.ref, OrderedDict())
        keys[token.key] = None
        keys.move_to_end(token.key)
        if len(keys) > self._limit_of_one:
            self._discard(next(iter(keys)))
        elif len(self._tokens) > self._limit:
            self._discard(next(iter(self._tokens)))

    def refs(self) -> tuple[CredentialRef, ...]:
        """All credentials that have a token here."""
        return tuple(self._keys)

    def tokens_of(self, ref: CredentialRef) -> tuple[AccessToken, ...]:
        """All tokens of a credential."""
        return tuple(self._tokens[key] for key in self._keys.get(ref, ()))

    def drop(self, ref: CredentialRef) -> None:
        """Drop all tokens of a credential."""
        for key in tuple(self._keys.get(ref, ())):
            self._discard(key)

    def states(self, now: float) -> dict[str, int]:
        """The number of tokens in each state at `now`."""
        return dict(Counter(token.state(now).value for token in self._tokens.values()))

    def _discard(self, key: TokenKey) -> None:
        del self._tokens[key]
        keys = self._keys[key.ref]
        del keys[key]
        if not keys:
            del self._keys[key.ref]


def _yields(held: AccessToken, token: AccessToken, replacing: AccessToken | None) -> bool:
    if replacing is not None and held.sha256 == replacing.sha256:
        return True
    return (held.epoch, held.expires_at) < (token.epoch, token.expires_at)
