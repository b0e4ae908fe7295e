"""The decision on a request: one object for metrics and the audit log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from app.domain.errors import SourceLimitedError
from app.domain.refusal_reason import RefusalReason

Tier = Literal["memory", "shared", "exchange"]
"""The source of a vended token: this replica's memory, the shared cache, or a new exchange."""

VENDED = "vended"
"""The outcome of a request that was answered with a token."""

DONE = "done"
"""The outcome of a request that succeeded and has no token in its answer."""


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Decision:
    """The decision on a request. Warm requests with the same decision share one object, so listeners may remember it.

    Args:
        endpoint: The route, such as ``/token``.
        action: ``vend``, ``report``, ``purge`` or ``status``; None if the request failed before its action was known.
        outcome: ``vended``, ``done``, or the error's code.
        caller: The caller's name, or None before authentication.
        org: The parsed org id, or None.
        credential: The credential's name, or None.
        scope: The scopes of the token, separated by spaces; None if refused, because they are raw input.
        generation: The generation the token was minted with, or None.
        token_sha256: SHA-256 of the token, or None.
        tier: The source of the token, or None.
        reason: Why the caller credential was refused; None if it was not.
        api_key_sha256: The SHA-256 of the caller's API key in hex; None without a valid API key.
        is_shared: Whether many requests share this object. Remembering others fills memory with what is never found.
        audit_rule: The place of the rule with ``mode: audit`` that would have allowed a refused request, or None.

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
    reason: RefusalReason | None = None
    audit_rule: str | None = None
    api_key_sha256: str | None = None
    is_shared: bool = field(default=False, repr=False)  # not a part of what was decided

    @property
    def was_looked_at(self) -> bool:
        """Whether the credential was looked at: not if too many of its address were refused.

        The audit log has no line for such a request, because anyone can send any number of them. Metrics count it.
        """
        return self.caller is not None or self.outcome != SourceLimitedError.code
