"""An Adobe access token and the headers of an API call with it."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AdobeToken:
    """A token that the broker gave.

    Args:
        value: The access token.
        client_id: The client it belongs to; Adobe wants it as ``x-api-key``.
        org_id: The IMS org it belongs to.
        scope: Its scopes, separated by spaces.
        sandbox_name: For ``x-sandbox-name``; None if no such header is to be sent.
        lifetime: Seconds that were left when it was received.

    """

    value: str = field(repr=False)
    client_id: str
    org_id: str
    scope: str
    sandbox_name: str | None
    lifetime: float
    _wall: float = field(default_factory=time.time, repr=False)
    _steady: float = field(default_factory=time.monotonic, repr=False)

    @property
    def age(self) -> float:
        """Seconds since it was received: by the clock that says more, since one may stop and the other be set back."""
        return max(time.time() - self._wall, time.monotonic() - self._steady, 0.0)

    @property
    def remaining(self) -> float:
        """Seconds until it expires; 0 or less if it has."""
        return self.lifetime - self.age

    @property
    def sha256(self) -> str:
        """Its hash, by which it is reported without sending it."""
        return sha256_of(self.value)

    def headers(self) -> dict[str, str]:
        """The headers of an Adobe API call."""
        headers = {
            "Authorization": f"Bearer {self.value}",
            "x-api-key": self.client_id,
            "x-gw-ims-org-id": self.org_id,
        }
        return headers if self.sandbox_name is None else {**headers, "x-sandbox-name": self.sandbox_name}


def sha256_of(token: str) -> str:
    """The hash by which a token is reported without sending it."""
    return hashlib.sha256(token.encode()).hexdigest()
