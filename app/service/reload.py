"""The policy in force, which is the last good one. The file is checked every two seconds."""

from __future__ import annotations

import asyncio
import math

from app.domain.events import PolicyLoaded, PolicyRefused
from app.domain.plain_document import PolicyError
from app.domain.policy import Policy
from app.domain.policy_ends import next_end, without_ended
from app.ports import CallerVerifier, Clock, EventSink, PolicySource
from app.process.renewed_file import Look, RenewedFile

RELOAD_SECONDS = 2.0
"""A change is in force within 5 s (docs/contract.md section 4): this, 1 s without a change, and the time to read."""

MAX_NOTES = 20
"""The notes of a policy that are reported when it comes into force; a policy can have thousands."""

EXPIRY_CHECK_SECONDS = 0.25
"""Rules and API keys end at most this long after their `not_after` (docs/contract.md section 4 promises a second)."""


class PolicyInForce:
    """Holds the policy in force. `current` is one object, which is replaced as a whole: no decision sees half a change.

    It is replaced, too, when a rule or an API key ends. Everything that remembers a decision compares this object, so
    that each remembered decision ends at the same time.

    Args:
        source: The source of the policy.
        verifier: Gets the trusted issuers.
        sink: Listens to events.
        clock: Unix time in seconds.
        reload_seconds: The interval between two looks at the source.
        expiry_check_seconds: The interval between two looks at the clock.

    """

    def __init__(
        self,
        source: PolicySource,
        verifier: CallerVerifier,
        sink: EventSink,
        clock: Clock,
        reload_seconds: float = RELOAD_SECONDS,
        expiry_check_seconds: float = EXPIRY_CHECK_SECONDS,
    ) -> None:
        self.current = Policy(())
        self._in_file = self.current
        self._next_end = math.inf
        self._source = source
        self._verifier = verifier
        self._sink = sink
        self._clock = clock
        self._reload_seconds = reload_seconds
        self._expiry_check_seconds = expiry_check_seconds
        # By version, or by the reason of a refusal. One look is enough, because the source looks twice.
        self._file = RenewedFile[str](looks=1)

    async def load(self) -> None:
        """Load the policy for the first time.

        Raises:
            PolicyError: It is missing or bad. The process must not start without a policy.

        """
        await self._adopt_change()

    async def watch(self) -> None:
        """Look for changes forever. A bad file is refused as a whole and reported once; the last good policy stays."""
        while True:
            await asyncio.sleep(self._reload_seconds)
            try:
                await self._adopt_change()
            except PolicyError as error:
                self._report_refusal(str(error))

    async def watch_ends(self) -> None:
        """Remove rules and API keys that have ended, forever. It does not wait for the file, whose volume may hang."""
        while True:
            await asyncio.sleep(self._expiry_check_seconds)
            if self._clock() >= self._next_end:
                self._put_in_force(self._in_file)

    def _put_in_force(self, policy: Policy) -> None:
        now = self._clock()
        self._in_file, self._next_end = policy, next_end(policy, now)
        self.current = without_ended(policy, now)

    async def _adopt_change(self) -> None:
        policy = await self._source.load()
        if policy is None:
            if self._file.look(self.current.version) is Look.RESTORED:
                self._report_in_force()
            return
        self._verifier.trust(policy.issuers)
        self._put_in_force(policy)
        self._file.accept(policy.version)
        self._report_in_force()

    def _report_in_force(self) -> None:
        notes = self.current.notes
        if len(notes) > MAX_NOTES:
            notes = (*notes[:MAX_NOTES], f"and {len(notes) - MAX_NOTES} more, which policy check prints")
        self._sink.emit(PolicyLoaded(self._clock(), self.current.version, notes))

    def _report_refusal(self, reason: str) -> None:
        if self._file.look(reason) is Look.NEW:
            self._file.refuse(reason)
            self._sink.emit(PolicyRefused(self._clock(), reason))
