"""Ports to what knows callers: their issuers, and the policy."""

from __future__ import annotations

from typing import Protocol

from app.domain.identity import Identity, Issuer
from app.domain.policy import Policy


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
