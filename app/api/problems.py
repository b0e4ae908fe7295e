"""The one table from domain errors to HTTP (RFC 9457), and the answers made from it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from starlette.responses import Response

from app.domain.dependency_errors import (
    CredentialStoreError,
    IdentityUnavailableError,
    ImsUnavailableError,
    OverloadedError,
)
from app.domain.errors import BrokerError, ForbiddenError, InvalidRequestError, RateLimitedError, UnauthenticatedError
from app.domain.tenant_errors import (
    BadUpstreamResponseError,
    CredentialMisconfiguredError,
    CredentialNotFoundError,
    CredentialRejectedError,
)

PROBLEM_JSON = "application/problem+json"
NO_STORE = {"cache-control": "no-store"}
CHALLENGE = 'Bearer realm="ims-token-broker"'


@dataclass(frozen=True, slots=True)
class Problem:
    """One row of the error table.

    Args:
        status: The HTTP status.
        title: A constant, for people.
        meaning: What it means and what to do, for the table in the README.

    """

    status: int
    title: str
    meaning: str = ""


PROBLEMS: dict[type[BrokerError], Problem] = {
    InvalidRequestError: Problem(
        400,
        "The request is malformed",
        "a parameter is malformed, repeated, unknown or missing; or `min_ttl` is not "
        "clearly shorter than the lifetime of the tokens that IMS issues",
    ),
    UnauthenticatedError: Problem(
        401,
        "No valid caller credential",
        "the caller credential is missing or invalid; always the same text",
    ),
    ForbiddenError: Problem(
        403,
        "Not allowed",
        "the policy denies it; the response is the same for known and unknown orgs",
    ),
    CredentialNotFoundError: Problem(
        404,
        "No such credential",
        "the caller is allowed, but no credential is stored for this org and name",
    ),
    RateLimitedError: Problem(
        429,
        "Too many requests",
        "the caller's own `rate_limit` is exceeded, or too many credentials from its address were refused; "
        "wait for `Retry-After`",
    ),
    CredentialRejectedError: Problem(
        502,
        "IMS refused the credential",
        "IMS rejected the credential; the detail has its error code, debug id and the usual remedy",
    ),
    BadUpstreamResponseError: Problem(
        502,
        "IMS gave a bad answer",
        "IMS sent an invalid response, which was discarded",
    ),
    CredentialMisconfiguredError: Problem(
        503,
        "The stored credential is misconfigured",
        "the stored document is invalid; the detail names the field",
    ),
    CredentialStoreError: Problem(
        503,
        "The credential store is unavailable",
        "the credential store, or the signer that keeps a credential's key (Vault, AWS KMS), is unavailable",
    ),
    ImsUnavailableError: Problem(
        503,
        "IMS is unavailable",
        "IMS does not respond, throttles or fails",
    ),
    IdentityUnavailableError: Problem(
        503,
        "The caller cannot be verified at the moment",
        "the signing keys of the caller's issuer are unavailable; or, with `token_review_url`, its API server is",
    ),
    OverloadedError: Problem(
        503,
        "The broker is overloaded",
        "a limit, or the deadline of 15 s, was reached",
    ),
}

_UNEXPECTED = Problem(500, "Internal error")
_UNEXPECTED_DETAIL = "The broker failed unexpectedly. Search its log for the request id."


def problem_of(error: BrokerError) -> Problem:
    """The row for `error`: the row of its class, or of its nearest base class."""
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind]
    return _UNEXPECTED


def retry_after_of(error: BrokerError) -> int | None:
    """Whole seconds for ``Retry-After``, rounded up, or None if waiting does not help."""
    return None if error.retry_after is None else max(1, math.ceil(error.retry_after))


def problem_response(error: BrokerError, request_id: str) -> Response:
    """`error` as ``application/problem+json`` with all its headers."""
    problem = problem_of(error)
    headers: dict[str, str] = {}
    if problem.status == 401:
        headers["www-authenticate"] = CHALLENGE
    retry_after = retry_after_of(error)
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    code, detail = error.code, error.detail
    return problem_body(problem, code, detail, request_id, retryable=error.retryable, headers=headers)


def unexpected_response(request_id: str) -> Response:
    """The constant response to an unexpected error; it contains nothing of the error."""
    return problem_body(_UNEXPECTED, BrokerError.code, _UNEXPECTED_DETAIL, request_id)


def problem_document(error: BrokerError, request_id: str) -> dict[str, object]:
    """`error` as a problem document within another answer, with the seconds of ``Retry-After`` as a member."""
    document = _document(problem_of(error), error.code, error.detail, request_id, retryable=error.retryable)
    retry_after = retry_after_of(error)
    return document if retry_after is None else {**document, "retry_after": retry_after}


def problem_body(
    problem: Problem,
    code: str,
    detail: str,
    request_id: str,
    *,
    retryable: bool = False,
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem document, with headers that forbid caching."""
    document = _document(problem, code, detail, request_id, retryable=retryable)
    body = json.dumps(document, separators=(",", ":")).encode()
    return Response(body, problem.status, headers={**NO_STORE, **(headers or {})}, media_type=PROBLEM_JSON)


def _document(problem: Problem, code: str, detail: str, request_id: str, *, retryable: bool) -> dict[str, object]:
    return {
        "type": f"urn:ims-token-broker:problem:{code}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        "retryable": retryable,
    }
