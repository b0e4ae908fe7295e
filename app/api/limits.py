"""The limits of the API: on time, on bodies, and on waiting requests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits. The defaults are for production.

    Args:
        request_seconds: The longest time for one request: below 15 s, so that there is time to send the answer.
        item_seconds: The same for one item of a batch, so that one that hangs does not take the answers of the others.
        policy_changes: The number of policy changes that affect a waiting request before it is refused.
        waiting: The number of requests on the long path at once; one more gets `overloaded`.
        bodies: The number of requests that wait for their body. They are counted separately, because anyone can send
            half a body.
        body_seconds: The longest time for the whole body.
        body_bytes: The largest body.

    """

    request_seconds: float = 14.8
    item_seconds: float = 14.3
    policy_changes: int = 5
    waiting: int = 10_000
    bodies: int = 1_000
    body_seconds: float = 5.0
    body_bytes: int = 64 * 1024
