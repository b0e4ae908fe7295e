"""What is known of a request, as far as it has come; its decision is made from it, however it ends."""

from __future__ import annotations

from dataclasses import dataclass

from app.api.caller_gate import Admission
from app.domain.access_token import AccessToken
from app.domain.decision import Decision, Tier
from app.domain.errors import BrokerError, CallerError, ForbiddenError, UnauthenticatedError, UnknownCallerError
from app.domain.names import CredentialRef
from app.domain.policy import Caller
from app.domain.refusal_reason import CallerRefused, RefusalReason


@dataclass(slots=True)
class RequestFacts:
    """The facts about a request: filled in during the request, reported at its end."""

    endpoint: str
    action: str
    admission: Admission | None = None
    ref: CredentialRef | None = None
    token: AccessToken | None = None
    tier: Tier | None = None
    prepared: Decision | None = None
    denied: ForbiddenError | None = None
    """The policy's answer, if it was no: under the policy of `admission`."""

    @property
    def admitted(self) -> Admission:
        """The caller with its proof, once it has been admitted."""
        assert self.admission is not None  # noqa: S101  # admit() ran
        return self.admission

    @property
    def caller(self) -> Caller:
        """The caller, once it has been admitted."""
        return self.admitted.caller

    def refused(self, error: BrokerError) -> Decision:
        """These facts as the decision to answer with `error`."""
        reason = error.reason if isinstance(error, UnauthenticatedError | UnknownCallerError) else None
        return self.decided(error.code, reason, error.audit_rule if isinstance(error, CallerError) else None)

    def decided(self, outcome: str, reason: RefusalReason | None = None, audit_rule: str | None = None) -> Decision:
        """These facts as an event's decision.

        Args:
            outcome: What was answered, as in the audit log.
            reason: Why the caller credential was refused, or None.
            audit_rule: The rule with ``mode: audit`` that would have allowed it, or None.

        """
        token = self.token
        return Decision(
            endpoint=self.endpoint,
            action=self.action,
            outcome=outcome,
            caller=None if self.admission is None else self.admission.caller.name,
            org=None if self.ref is None else self.ref.org,
            credential=None if self.ref is None else self.ref.name,
            scope=None if token is None else " ".join(token.scopes),
            generation=None if token is None else token.generation,
            token_sha256=None if token is None else token.sha256,
            tier=self.tier,
            reason=reason,
            audit_rule=audit_rule,
            api_key_sha256=None if self.admission is None else self.admission.api_key_sha256,
        )


def caller_refused(error: BrokerError, endpoint: str, now: float) -> CallerRefused | None:
    """The event that a caller credential was refused; None if `error` is about something else.

    Args:
        error: Why the request is refused.
        endpoint: The route, such as ``/token``.
        now: Unix time in seconds.

    """
    if not isinstance(error, UnauthenticatedError | UnknownCallerError):
        return None
    signed_for = error.signed_for
    if signed_for is None:
        return CallerRefused(now, endpoint, error.reason)
    callers = error.callers or None if isinstance(error, UnknownCallerError) else None
    return CallerRefused(now, endpoint, error.reason, signed_for.issuer, signed_for.subject, callers)
