"""Ports to Adobe beyond IMS: the Developer Console, and one call of an API. For commands alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from app.domain.probe_answer import ProbeAnswer
from app.domain.secret_rotation_state import ConsoleAccess, ListedSecret, NewSecret


class ClientSecrets(Protocol):
    """Adobe's secrets API. An outage: a rotation stops, and goes on when the command is run again.

    Each method raises:
        SecretsApiDeniedError: Adobe refuses the token, or does not know the ids.
        SecretsApiUnavailableError: No answer, or one that is not to be understood. The call may have had its effect.
    """

    async def listed(self, access: ConsoleAccess) -> tuple[ListedSecret, ...]:
        """The secrets of the credential, the oldest first."""
        ...

    async def add(self, access: ConsoleAccess) -> NewSecret:
        """Add a second secret."""
        ...

    async def delete(self, access: ConsoleAccess, uuid: str) -> None:
        """Delete a secret for good. One that does not exist is not an error."""
        ...


class ApiProbe(Protocol):
    """One cheap call of an Adobe API. An outage: the check says so."""

    async def get(self, url: str, headers: Mapping[str, str]) -> ProbeAnswer:
        """Send one GET.

        Args:
            url: One that `may_be_probed`.
            headers: The token and Adobe's other headers.

        Raises:
            ProbeUnavailableError: There is no answer.

        """
        ...
