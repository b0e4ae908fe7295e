"""The one table that maps errors to HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.api.problems import PROBLEMS, problem_of, problem_response
from app.domain import dependency_errors, errors, tenant_errors
from app.domain.errors import BrokerError
from app.domain.refusal_reason import RefusalReason

ROWS: list[tuple[BrokerError, int, str, str | None, bool]] = [
    (errors.InvalidRequestError("no"), 400, "invalid_request", None, False),
    (errors.InvalidScopeError("no"), 400, "invalid_request", None, False),
    (errors.UnauthenticatedError(RefusalReason.MALFORMED), 401, "unauthenticated", None, False),
    (errors.ForbiddenError(), 403, "forbidden", None, False),
    (tenant_errors.CredentialNotFoundError(), 404, "credential_not_found", None, False),
    (errors.RateLimitedError(0.2), 429, "rate_limited", "1", True),
    (errors.RateLimitedError(2.1), 429, "rate_limited", "3", True),
    (tenant_errors.CredentialRejectedError("invalid_client", "abc"), 502, "credential_rejected", None, False),
    (tenant_errors.BadUpstreamResponseError("junk"), 502, "bad_upstream_response", None, True),
    (
        tenant_errors.CredentialMisconfiguredError("client_id", "must be text"),
        503,
        "credential_misconfigured",
        "30",
        False,
    ),
    (dependency_errors.CredentialStoreError("sealed"), 503, "vault_unavailable", "5", True),
    (dependency_errors.ImsUnavailableError("down", 0.0), 503, "ims_unavailable", "1", True),
    (dependency_errors.ImsUnavailableError("down", 3600.0), 503, "ims_unavailable", "3600", True),
    (dependency_errors.IdentityUnavailableError("no keys"), 503, "identity_unavailable", "5", True),
    (dependency_errors.OverloadedError(), 503, "overloaded", "1", True),
]


@pytest.mark.parametrize(("error", "status", "code", "retry_after", "retryable"), ROWS)
def test_each_error_has_its_status_code_and_headers(
    error: BrokerError, status: int, code: str, retry_after: str | None, retryable: bool
) -> None:
    """Status, code, Retry-After, challenge and no-store follow the documented table."""
    answer = problem_response(error, "the-id")
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == retry_after
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/problem+json"
    challenge = answer.headers.get("www-authenticate")
    assert (challenge or "").startswith("Bearer") is (status == 401)
    body = bytes(answer.body).decode()
    for part in (f'"code":"{code}"', f'"retryable":{str(retryable).lower()}', '"request_id":"the-id"'):
        assert part in body


def descendants(kind: type[BrokerError]) -> Iterator[type[BrokerError]]:
    """`kind` and all its subclasses."""
    yield kind
    for child in kind.__subclasses__():
        yield from descendants(child)


def test_every_error_a_caller_can_see_has_a_row() -> None:
    """Of the errors in the modules for callers, only base classes, and the error of the cache, have none."""
    # Errors of commands are elsewhere, and a test run may have imported any of them.
    homes = {module.__name__ for module in (errors, tenant_errors, dependency_errors)}
    seen = [kind for kind in descendants(BrokerError) if kind.__module__ in homes]
    without = {kind.__name__ for kind in seen if not any(base in PROBLEMS for base in kind.__mro__)}
    assert without == {"BrokerError", "CallerError", "TenantError", "DependencyError", "CacheUnavailableError"}


def test_an_error_without_a_row_is_an_internal_one() -> None:
    """An error that should never reach a caller is not mapped to another one."""
    assert problem_of(dependency_errors.CacheUnavailableError("away")).status == 500
