"""A warm path with a memory of its own."""

from __future__ import annotations

from app.api.answers import TOKEN_ANSWER
from app.api.caller_gate import CallerGate, proof_of
from app.api.warm import WarmPath
from app.api.warm_memory import MAX_TAUGHT_BYTES, WarmMemory
from app.domain.access_token import AccessToken
from tests.factories import make_api_key
from tests.support.api_in_memory import ApiInMemory


class RememberedQueries:
    """A warm path with a memory of its own, and callers that are known to the gate.

    Args:
        api: Has the policy and the tokens.
        limit: Bytes of the memory.

    """

    def __init__(self, api: ApiInMemory, limit: int = MAX_TAUGHT_BYTES) -> None:
        self.api = api
        self.gate = CallerGate(api.policy, api.verifier, api.clock, api.fleet_limits)
        self.memory = WarmMemory(limit)
        self.path = WarmPath("/token", TOKEN_ANSWER, self.gate, api.replica.vendor, self.memory)

    async def learn(self, query: str, token: AccessToken, name: str = "journey") -> None:
        """Teach one query of a caller."""
        self.path.learn(await self.gate.admit([authorization_of(name)]), query.encode(), token)

    def knows(self, query: str, name: str = "journey") -> bool:
        """Whether that query would be answered."""
        return self.path.decide(proof_of(authorization_of(name)), query.encode(), self.api.clock()) is not None


def authorization_of(name: str) -> bytes:
    """The value of a caller's Authorization header."""
    return f"Bearer {make_api_key(name)}".encode()
