"""The policy in force: the last good one, looked after every two seconds."""

from __future__ import annotations

import asyncio

from app.domain.errors import PolicyError
from app.domain.events import PolicyLoaded, PolicyRefused
from app.domain.policy import Policy
from app.ports import CallerVerifier, Clock, EventSink, PolicySource

RELOAD_SECONDS = 2.0
"""A change is in force within 5 s (product section 4): this, a second in which it must stay alike, the time to read."""


class PolicyInForce:
    """Holds the policy that decides now. `current` is one object, swapped whole: no decision sees half a change.

    Args:
        source: Where the policy comes from.
        verifier: Learns of the trusted issuers.
        sink: Listens to events.
        clock: Unix time in seconds.

    """

    def __init__(self, source: PolicySource, verifier: CallerVerifier, sink: EventSink, clock: Clock) -> None:
        self.current = Policy(())
        self._source = source
        self._verifier = verifier
        self._sink = sink
        self._clock = clock
        self._refused: str | None = None

    async def load(self) -> None:
        """Load the policy for the first time.

        Raises:
            PolicyError: There is none, or it is bad; the process must not start without one.

        """
        await self._adopt_change()

    async def watch(self) -> None:
        """Look for changes for ever. A bad file is refused whole, told once, and the last good policy stays."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            try:
                await self._adopt_change()
            except PolicyError as error:
                self._tell_refusal(str(error))

    async def _adopt_change(self) -> None:
        policy = await self._source.load()
        if policy is None:
            if self._refused is not None:
                # The bad file was put back to the one in force: say so, and tell the next refusal anew.
                self._refused = None
                self._sink.emit(PolicyLoaded(self._clock(), self.current.version))
            return
        self._verifier.trust(policy.issuers)
        self.current = policy
        self._refused = None
        self._sink.emit(PolicyLoaded(self._clock(), policy.version))

    def _tell_refusal(self, reason: str) -> None:
        if reason != self._refused:
            self._refused = reason
            self._sink.emit(PolicyRefused(self._clock(), reason))
