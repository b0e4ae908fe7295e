"""What happened in a simulation, and the invariants that it is checked for.

The checker knows what callers, IMS and operators saw. It knows nothing of the code. `tests.support.invariants` names
the invariants; those checked here are I1, I3, I4, I6 and I8 (while IMS and the credential store work, whatever Redis
does).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from app.domain.access_token import AccessToken
from app.domain.errors import BrokerError
from app.domain.names import CredentialRef, TokenKey
from tests.simulation.simulated_network import Process
from tests.simulation.simulated_world import SimulatedWorld
from tests.support.invariants import LONGEST_REQUEST, InvariantError

FEWEST_PURGES_TO_GIVE_UP = 4
"""A request may fail if its token is purged as many times while it waits.

One is enough while messages of Redis are lost: a replica that cannot read the new epoch mints under the old one again.
"""


@dataclass
class Purging:
    """A purge: when it began, and when and by which process it was answered."""

    history: History
    ref: CredentialRef
    began_at: float
    answered_by: Process | None = None
    answered_at: float = math.inf

    def answered(self, process: Process) -> None:
        """The operator has the answer."""
        if process.is_alive:
            self.answered_by, self.answered_at = process, self.history.world.now()

    def has_reached(self, asked: CallerRequest) -> bool:
        """Whether it must hold for a request: it was answered before by the same process, or long enough ago.

        A purge that Redis could not record is known to one process alone, and ends with it (app/ARCHITECTURE.md).
        """
        if self.ref != asked.key.ref or asked.at < self.answered_at or self.answered_by is None:
            return False
        is_kept = self.answered_by.is_alive or self.history.redis_works
        return self.answered_by is asked.process or (is_kept and asked.at >= self.history.settled_at)


@dataclass
class CallerRequest:
    """One request of a caller."""

    history: History
    process: Process
    key: TokenKey
    at: float
    outcome: str | None = None

    def answered(self, token: AccessToken) -> None:
        """The caller has a token."""
        if not self.process.is_alive:
            return
        self.outcome = "token"
        self.history.check_answer(self, token)

    def failed(self, error: BrokerError) -> None:
        """The caller has an error."""
        if not self.process.is_alive:
            return
        self.outcome = error.code
        self.history.check_failure(self, error)


@dataclass
class History:
    """The history of one simulation.

    Args:
        world: The true time, and what IMS saw.
        ims_works: Whether IMS and the credential store work all the time.
        redis_works: Whether Redis works all the time, and loses nothing.
        settled_at: When all systems have worked again for long enough that each purge has reached each replica.

    """

    world: SimulatedWorld
    ims_works: bool
    redis_works: bool
    settled_at: float = math.inf
    requests: list[CallerRequest] = field(default_factory=list)
    purges: list[Purging] = field(default_factory=list)

    def asked(self, process: Process, key: TokenKey) -> CallerRequest:
        """A caller asks."""
        asked = CallerRequest(self, process, key, self.world.now())
        self.requests.append(asked)
        return asked

    def purging(self, ref: CredentialRef) -> Purging:
        """An operator purges."""
        purging = Purging(self, ref, self.world.now())
        self.purges.append(purging)
        return purging

    def check_answer(self, asked: CallerRequest, token: AccessToken) -> None:
        """Check one answered token."""
        now, exchange = self.world.now(), self.world.minted.get(token.value)
        if exchange is None:
            raise InvariantError("I1: IMS never issued this token")
        if exchange.ref != asked.key.ref or token.key.selection != asked.key.selection:
            raise InvariantError(f"I1: {asked.key} got a token of {exchange.ref} with {token.key.selection}")
        if now >= exchange.expires_at:
            raise InvariantError(f"I3: the token had expired {now - exchange.expires_at:.3f} s before")
        for purge in self.purges:
            if purge.has_reached(asked) and exchange.began_at < purge.began_at:
                raise InvariantError("I3: a token from before a purge that had reached the replica")
        self._check_duration(asked, now)

    def check_failure(self, asked: CallerRequest, error: BrokerError) -> None:
        """Check one failed request."""
        purges = sum(purge.ref == asked.key.ref for purge in self.purges)
        fewest = FEWEST_PURGES_TO_GIVE_UP if self.redis_works else 1
        if self.ims_works and not (error.code == "overloaded" and purges >= fewest):
            raise InvariantError(f"I8: {asked.key.ref} got {error.code} although IMS worked: {error.detail}")
        self._check_duration(asked, self.world.now())

    def check_end(self, exchanges_of_one: dict[CredentialRef, int]) -> None:
        """Check what can only be known at the end.

        Args:
            exchanges_of_one: The most exchanges that each credential may have cost.

        """
        for asked in self.requests:
            if asked.outcome is None and asked.process.is_alive:
                raise InvariantError(f"I6: a request of {asked.key.ref} never ended")
        counts = Counter(exchange.ref for exchange in self.world.exchanges)
        for ref, limit in exchanges_of_one.items():
            if counts[ref] > limit:
                raise InvariantError(f"I4: {counts[ref]} exchanges of {ref}, at most {limit} were expected")

    def _check_duration(self, asked: CallerRequest, now: float) -> None:
        if now - asked.at > LONGEST_REQUEST:
            raise InvariantError(f"I6: a request took {now - asked.at:.1f} s")
