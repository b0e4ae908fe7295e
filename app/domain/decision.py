"""What was decided on a request, told to metrics and audit log as one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tier = Literal["memory", "shared", "exchange"]
"""Where a vended token came from: this replica's memory, the shared cache, or a new exchange."""

VENDED = "vended"
"""Outcome of a request that was granted and answered with a token."""

DONE = "done"
"""Outcome of a request that was granted and has no token to answer."""


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Decision:
    """What was decided on a request. One object serves all requests decided alike, so listeners may remember it.

    Args:
        endpoint: The route, such as ``/token``.
        action: ``vend``, ``report``, ``purge`` or ``status``; None for what never came so far.
        outcome: ``vended``, ``done``, or the error's code.
        caller: The caller's name, or None before authentication.
        org: The parsed org id, or None.
        credential: The credential's name, or None.
        scope: The scopes of the token, separated by spaces, or None: those of a refused request are raw input.
        generation: The generation the token was minted with, or None.
        token_sha256: SHA-256 of the token, or None.
        tier: Where the token came from, or None.

    """

    endpoint: str
    action: str | None
    outcome: str
    caller: str | None = None
    org: str | None = None
    credential: str | None = None
    scope: str | None = None
    generation: str | None = None
    token_sha256: str | None = None
    tier: Tier | None = None
