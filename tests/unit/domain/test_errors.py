"""Every error has its whole sentence, and the members that its answer and the operator need.

Errors are made within the tests: what is made at import time is made before a mutant is active.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.amount import amount
from app.domain.dependency_errors import (
    CredentialStoreError,
    ExchangeDeferredError,
    ImsUnavailableError,
    OverloadedError,
)
from app.domain.errors import (
    BrokerError,
    ForbiddenError,
    RateLimitedError,
    SourceLimitedError,
    UnauthenticatedError,
    UnknownCallerError,
)
from app.domain.refusal_reason import RefusalReason, SignedFor
from app.domain.tenant_errors import (
    BadUpstreamResponseError,
    CredentialMisconfiguredError,
    CredentialNotFoundError,
    CredentialRejectedError,
)

SIGNED = SignedFor("https://issuer.example", "subject")


@pytest.mark.parametrize(("make", "detail"), [
    (lambda: UnauthenticatedError(RefusalReason.MALFORMED),
     "Send one valid credential: Authorization: Bearer <API key or JWT>."),
    (lambda: ForbiddenError(), "The policy does not allow this caller to do this."),
    (lambda: UnknownCallerError(SIGNED), "The policy does not allow this caller to do this."),
    (lambda: RateLimitedError(2.0), "This caller exceeded its rate limit. Retry after the time in Retry-After."),
    (lambda: SourceLimitedError(3.0),
     "Too many credentials from this address were refused. Retry after the time in Retry-After."),
    (lambda: ExchangeDeferredError(4.0), "IMS throttles this client, and other exchanges come first."),
    (lambda: OverloadedError(), "The broker is overloaded."),
    (lambda: CredentialNotFoundError(),
     "No credential is stored for this org under this name. Ask the broker's operators to add it."),
    (lambda: CredentialMisconfiguredError("scopes", "must be a list"),
     "The stored credential is misconfigured: scopes: must be a list."),
    (lambda: CredentialRejectedError("invalid_client"), "IMS refused this credential: invalid_client."),
    (lambda: CredentialRejectedError("invalid_client", "d-1", hint="Rotate it."),
     "IMS refused this credential: invalid_client (X-Debug-Id d-1). Rotate it."),
    (lambda: BadUpstreamResponseError("no token"), "IMS gave an answer that cannot be trusted: no token."),
    (lambda: BadUpstreamResponseError("no token", "d-2"),
     "IMS gave an answer that cannot be trusted (X-Debug-Id d-2): no token."),
])  # fmt: skip
def test_an_error_has_a_whole_sentence(make: Callable[[], BrokerError], detail: str) -> None:
    """It is part of the answer."""
    assert make().detail == detail


@pytest.mark.parametrize(("make", "seconds"), [
    (lambda: RateLimitedError(2.0), 2.0), (lambda: SourceLimitedError(3.0), 3.0),
    (lambda: ExchangeDeferredError(4.0), 4.0),
    (lambda: OverloadedError(), 1.0), (lambda: OverloadedError("Full.", 7.0), 7.0),
    (lambda: CredentialStoreError("Vault is away."), 5.0),
    (lambda: ImsUnavailableError("IMS is down."), 5.0), (lambda: ImsUnavailableError("IMS is down.", 9.0), 9.0),
    (lambda: CredentialMisconfiguredError("scopes", "must be a list"), 30.0),
])  # fmt: skip
def test_an_error_says_when_to_try_again(make: Callable[[], BrokerError], seconds: float) -> None:
    """In seconds, with a default where the cause names none."""
    assert make().retry_after == seconds


def test_an_error_keeps_what_the_operator_needs() -> None:
    """Reasons, whom a JWT was signed for, ids of IMS, and what went wrong."""
    unauthenticated = UnauthenticatedError(RefusalReason.MALFORMED, SIGNED)
    assert (unauthenticated.reason, unauthenticated.signed_for) == (RefusalReason.MALFORMED, SIGNED)
    assert ForbiddenError("rule").audit_rule == "rule"
    unknown, ambiguous = UnknownCallerError(SIGNED), UnknownCallerError(SIGNED, ("a", "b"))
    assert (unknown.reason, unknown.signed_for, unknown.callers) == (RefusalReason.CALLER_UNKNOWN, SIGNED, ())
    assert (ambiguous.reason, ambiguous.callers) == (RefusalReason.CALLER_AMBIGUOUS, ("a", "b"))
    ims = ImsUnavailableError("IMS is down.", throttled=True, debug_id="d-3")
    assert (ims.throttled, ims.debug_id) == (True, "d-3")
    assert (ImsUnavailableError("IMS is down.").throttled, ExchangeDeferredError(1.0).throttled) == (False, False)
    rejected = CredentialRejectedError("invalid_client", "d-4", secret_refused=True)
    assert (rejected.ims_error, rejected.debug_id, rejected.secret_refused) == ("invalid_client", "d-4", True)
    assert CredentialRejectedError("invalid_grant").secret_refused is False
    doubtful = BadUpstreamResponseError("no token", "d-5")
    assert (doubtful.reason, doubtful.debug_id) == ("no token", "d-5")


@pytest.mark.parametrize(("number", "plural", "text"), [
    (0, None, "0 scopes"), (1, None, "1 scope"), (2, None, "2 scopes"), (1, "many", "1 scope"), (2, "many", "2 many"),
])  # fmt: skip
def test_a_number_has_its_noun(number: int, plural: str | None, text: str) -> None:
    """In sentences of errors and reports."""
    assert amount(number, "scope", plural) == text
