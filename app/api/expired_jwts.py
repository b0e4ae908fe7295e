"""JWTs that were refused because they had expired, so that their signature is not verified again for the audit log."""

from __future__ import annotations

from app.domain.errors import UnauthenticatedError
from app.domain.policy import Policy
from app.domain.refusal_reason import RefusalReason, SignedFor
from app.process.fair_memory import FairMemory

MAX_EXPIRED = 2_000
"""Expired JWTs that are remembered; the subject with the most loses its oldest."""


class ExpiredJwts:
    """Remembers JWTs with a good signature, by their SHA-256. A forged one is never remembered.

    Args:
        limit: The number of JWTs.

    """

    def __init__(self, limit: int = MAX_EXPIRED) -> None:
        self._since = FairMemory[SignedFor, bytes, tuple[SignedFor, float]](limit)
        self._under: Policy | None = None

    def remember(self, digest: bytes, error: UnauthenticatedError, policy: Policy, now: float) -> None:
        """Let `recall` find the JWT, if its issuer signed it and it has expired.

        Args:
            digest: The SHA-256 of the JWT.
            error: Why it is refused.
            policy: The policy under which it is.
            now: Unix time in seconds.

        """
        signed_for = error.signed_for
        if error.reason is not RefusalReason.EXPIRED or signed_for is None:
            return
        if self._under is not policy:
            self._since.clear()
            self._under = policy
        self._since.keep(signed_for, digest, (signed_for, now))

    def recall(self, digest: bytes, policy: Policy, now: float) -> UnauthenticatedError | None:
        """Why the JWT is refused; None if it must be verified. Not before it was refused, by a clock that is set back.

        Arguments as `remember`.
        """
        if self._under is not policy:
            return None
        known = self._since.get(digest)
        if known is None or now < known[1]:
            return None
        return UnauthenticatedError(RefusalReason.EXPIRED, known[0])
