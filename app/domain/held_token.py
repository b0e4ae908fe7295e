"""A token in the memory of one replica, with what the replica knows of its age.

The wall clock of a replica may be wrong, and may be stepped. So the age of a token is also measured with the steady
(monotonic) clock since the replica got it. The later of the two times decides about its end: a step backwards gives no
token a longer life. The steady one alone decides when it is refreshed: a step forwards makes no mass of tokens due.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.access_token import AccessToken, TokenState


@dataclass(slots=True)
class HeldToken:
    """A token that a replica holds.

    Args:
        token: The token.
        lead: Seconds. The steady clock plus `lead` is Unix time, unaffected by later steps of the wall clock.
        behind: Seconds by which the wall clock was behind the clock of the shared cache when the token was read there.
        used_at: Seconds of the steady clock: when a request last asked for the token.
        due: Seconds of the steady clock: when the keeper looks at the token next.

    """

    token: AccessToken
    lead: float
    behind: float
    used_at: float
    due: float

    def latest(self, now: float, steady: float) -> float:
        """The later of the possible times, which decides about the end of the token: Unix time in seconds.

        Args:
            now: The wall clock, Unix time in seconds.
            steady: The steady clock in seconds.

        """
        return max(now, steady + self.lead + self.behind)

    def clock_behind(self, now: float, steady: float) -> float:
        """Seconds by which the wall clock is behind, as far as this token shows. Arguments as of `latest`."""
        return self.latest(now, steady) - now

    def state(self, now: float, steady: float) -> TokenState:
        """The state of the token. Arguments as of `latest`."""
        return self.token.state(self.latest(now, steady), steady + self.lead)
