"""A verifier of callers' JWTs on a clock that the test moves, and words for what it answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.adapters.jwt_verifier import JwtCallerVerifier, Pace
from app.domain.dependency_errors import IdentityUnavailableError
from app.domain.errors import UnauthenticatedError
from app.domain.identity import Issuer
from tests.support.fetches import Fetches
from tests.support.issuer import AUDIENCE, SUBJECT, LocalIssuer, SigningKey
from tests.support.manual_time import ManualTime

NOW = 1_900_000_000.0
OLD, NEW = SigningKey("old", "ES256"), SigningKey("new", "ES256", serial=1)
STRANGER = SigningKey("stranger", "ES256", serial=2)
DAY = 24 * 3600.0


class JwksHarness:
    """A verifier that trusts no issuer yet, a clock that the test moves, and a record of the fetches."""

    def __init__(self) -> None:
        self.time = ManualTime()
        self.fetches = Fetches()
        pace = Pace(self.time.now, self.time.sleep, chance=lambda: 0.5, fetch_deadline=0.5, max_wait=0.3)
        self.verifier = JwtCallerVerifier(lambda: NOW, self.fetches, pace)

    async def accepts(self, token: str) -> None:
        """The token proves the usual subject."""
        assert (await self.verifier.verify(token.encode())).subject == SUBJECT

    async def refuses(self, token: str) -> None:
        """The token proves nothing."""
        with pytest.raises(UnauthenticatedError):
            await self.verifier.verify(token.encode())

    async def cannot_tell(self, token: str) -> None:
        """The issuer is out."""
        with pytest.raises(IdentityUnavailableError):
            await self.verifier.verify(token.encode())

    async def next_fetch(self, after: float) -> None:
        """Let `after` seconds pass and wait for the fetch that they bring."""
        count = len(self.fetches.outcomes)
        await self.time.asleep()
        self.time.advance(after)
        await self.fetches.reach(count + 1)


def trusted(issuer: LocalIssuer, **changes: str | tuple[str, ...] | None) -> Issuer:
    """The policy's entry for the issuer."""
    return replace(Issuer(issuer.name, (AUDIENCE,), jwks_url=issuer.url), **changes)  # type: ignore[arg-type]  # by name
