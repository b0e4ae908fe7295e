"""The API's own bounds: on time, on bodies, and on how many requests wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers; the defaults are those of production.

    Args:
        request_seconds: Longest time for one request: under 15 s, whatever hangs; the rest is for the answer itself.
        policy_changes: How often the policy may change what a waiting request may have, before it is refused.
        waiting: How many requests may be on the long path at once; one more is answered `overloaded`.
        bodies: How many of them may wait for their body, apart from the others, because anyone can send half of one.
        body_seconds: Longest time for the whole body.
        body_bytes: The largest body.

    """

    request_seconds: float = 14.8
    policy_changes: int = 5
    waiting: int = 10_000
    bodies: int = 1_000
    body_seconds: float = 5.0
    body_bytes: int = 64 * 1024
