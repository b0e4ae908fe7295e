"""Every way a request can fail.

BrokerError                           code, oauth_error, retryable, retry_after
├── CallerError                       the caller must change something
│   ├── InvalidRequestError           org, credential, scope or min_ttl malformed, repeated or missing
│   │   ├── InvalidScopeError         the credential lacks a requested scope, or all that the policy allows
│   │   └── UnsupportedGrantTypeError a grant other than client credentials
│   ├── UnauthenticatedError          the caller credential is missing, repeated, malformed, expired or forged
│   ├── ForbiddenError                the policy denies it (the same for a known and an unknown org)
│   │   └── UnknownCallerError        a valid JWT that no caller matches, or more than one
│   └── RateLimitedError              the caller's own limit
│       └── SourceLimitedError        too many credentials from the caller's address were refused
├── TenantError (tenant_errors)       this tenant is broken; every other tenant is fine
│   ├── CredentialNotFoundError       nothing is stored for it
│   ├── CredentialMisconfiguredError  its document is defective; the detail names the field, never its value
│   ├── CredentialRejectedError       IMS refused the credential
│   └── BadUpstreamResponseError      the answer of IMS cannot be trusted
└── DependencyError (dependency_errors)  an external system fails; worth a retry
    ├── CredentialStoreError          Vault or AWS KMS unreachable, or refusing us
    ├── ImsUnavailableError           IMS unreachable, throttling or failing
    ├── IdentityUnavailableError      the keys of a caller's issuer, or its review of a token, are unavailable
    ├── OverloadedError               a limit of this process was reached
    └── CacheUnavailableError         Redis unreachable; never reaches a caller
"""

from __future__ import annotations

from typing import ClassVar, Self

from app.domain.refusal_reason import RefusalReason, SignedFor


class BrokerError(Exception):
    """The base of all errors that this program raises on purpose.

    Args:
        detail: One sentence for a person: what is wrong and what to do. Never contains a secret or raw input.
        retry_after: Seconds after which a retry makes sense; None if waiting does not help.

    """

    code: ClassVar[str] = "internal_error"
    """The member ``code`` of a problem document (docs/contract.md section 3)."""
    oauth_error: ClassVar[str] = "temporarily_unavailable"
    """The member ``error`` of the answer of ``/oauth2/token`` (RFC 6749 section 5.2; the default is from 4.1.2.1)."""
    retryable: ClassVar[bool] = False
    retry_after: float | None = None

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def copied(self) -> Self:
        """The same error, to be kept or raised again: without its traceback, which keeps all frames of the first time.

        A kept error that is raised itself would gain frames, and one of them may refer to it: a cycle.
        """
        error = type(self).__new__(type(self), *self.args)
        error.__dict__.update(self.__dict__)
        return error


class CallerError(BrokerError):
    """The caller must change something before asking again."""

    audit_rule: str | None = None
    """The place of the rule with ``mode: audit`` that would have allowed it, or None; for the operator alone."""


class InvalidRequestError(CallerError):
    """A parameter is malformed, repeated, unknown or missing.

    RFC 6749: "The request is missing a required parameter, includes an unsupported parameter value (other than grant
    type), repeats a parameter, […] or is otherwise malformed."
    """

    code = "invalid_request"
    oauth_error = "invalid_request"


class InvalidScopeError(InvalidRequestError):
    """The credential lacks a scope that was asked for, or all scopes that the policy allows.

    RFC 6749: "The requested scope is invalid, unknown, malformed, or exceeds the scope granted by the resource owner."
    """

    oauth_error = "invalid_scope"


class UnsupportedGrantTypeError(InvalidRequestError):
    """A grant other than client credentials.

    RFC 6749: "The authorization grant type is not supported by the authorization server."
    """

    oauth_error = "unsupported_grant_type"


class UnauthenticatedError(CallerError):
    """The caller credential proves nothing. The detail is constant, so that a forger learns nothing from it.

    RFC 6749: "Client authentication failed (e.g., unknown client, no client authentication included, or unsupported
    authentication method)."

    Args:
        reason: Why, for the operator; it is not part of the answer.
        signed_for: Issuer and subject of a JWT with a good signature; None for any other credential.

    """

    code = "unauthenticated"
    oauth_error = "invalid_client"
    DETAIL: ClassVar[str] = "Send one valid credential: Authorization: Bearer <API key or JWT>."

    def __init__(self, reason: RefusalReason, signed_for: SignedFor | None = None) -> None:
        super().__init__(self.DETAIL)
        self.reason = reason
        self.signed_for = signed_for


class ForbiddenError(CallerError):
    """The policy denies the request. The detail is constant, so that no caller can find out whether an org exists.

    RFC 6749: "The authenticated client is not authorized to use this authorization grant type."

    Args:
        audit_rule: See `CallerError`.

    """

    code = "forbidden"
    oauth_error = "unauthorized_client"
    DETAIL: ClassVar[str] = "The policy does not allow this caller to do this."

    def __init__(self, audit_rule: str | None = None) -> None:
        super().__init__(self.DETAIL)
        self.audit_rule = audit_rule


class UnknownCallerError(ForbiddenError):
    """A valid JWT that no caller matches, or more than one. The answer is that of every `ForbiddenError`.

    Args:
        signed_for: Issuer and subject of the JWT; for the operator, and not part of the answer.
        callers: The names of the callers that the JWT matches; as `signed_for`.

    """

    def __init__(self, signed_for: SignedFor, callers: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.reason = RefusalReason.CALLER_AMBIGUOUS if callers else RefusalReason.CALLER_UNKNOWN
        self.signed_for = signed_for
        self.callers = callers


class RateLimitedError(CallerError):
    """The caller is over its own ``rate_limit``.

    Args:
        retry_after: Seconds until the next request can succeed.

    """

    code = "rate_limited"
    retryable = True
    retry_after: float

    def __init__(self, retry_after: float) -> None:
        super().__init__("This caller exceeded its rate limit. Retry after the time in Retry-After.")
        self.retry_after = retry_after


class SourceLimitedError(RateLimitedError):
    """Too many credentials from the caller's address were refused, so this one was not looked at.

    Not 401: the credential may be good, and a client would take a 401 as final.
    """

    def __init__(self, retry_after: float) -> None:
        BrokerError.__init__(
            self, "Too many credentials from this address were refused. Retry after the time in Retry-After."
        )
        self.retry_after = retry_after
