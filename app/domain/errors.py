"""Every way a request can fail.

BrokerError                           code, retryable
├── CallerError                       the caller must change something
│   ├── InvalidRequestError           org, credential, scope or min_ttl malformed, repeated or missing
│   │   └── InvalidScopeError         a scope that the credential does not have
│   ├── UnauthenticatedError          no, two, malformed, expired or forged caller credential
│   ├── ForbiddenError                policy says no (the same for a known and an unknown org)
│   └── RateLimitedError              the caller's own limit
├── TenantError                       this tenant is broken; every other tenant is fine
│   ├── CredentialNotFoundError       nothing is stored for it
│   ├── CredentialMisconfiguredError  its document is defective; the detail names the field, never its value
│   ├── CredentialRejectedError       IMS refused the credential
│   └── BadUpstreamResponseError      IMS answered nonsense
└── DependencyError                   nobody's fault here; worth a retry
    ├── CredentialStoreError          Vault unreachable, sealed or refusing us
    ├── ImsUnavailableError           IMS unreachable, throttling or failing
    ├── IdentityUnavailableError      the keys of a caller's issuer, or its review of a token, cannot be had
    ├── OverloadedError               a bound of our own was reached
    └── CacheUnavailableError         Redis unreachable; never reaches a caller
"""

from __future__ import annotations

from typing import ClassVar


class BrokerError(Exception):
    """Base of all errors this program raises on purpose.

    Args:
        detail: One sentence for a person: what is wrong and what to do. Never contains a secret or raw input.

    """

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class CallerError(BrokerError):
    """The caller must change something before asking again."""


class InvalidRequestError(CallerError):
    """A parameter is malformed, repeated, unknown or missing."""

    code = "invalid_request"


class InvalidScopeError(InvalidRequestError):
    """The credential does not have a scope that was asked for (RFC 6749 section 5.2, ``invalid_scope``)."""


class UnauthenticatedError(CallerError):
    """The caller credential proves nothing. The detail is constant: a forger learns nothing from it."""

    code = "unauthenticated"
    DETAIL: ClassVar[str] = "Send one valid credential: Authorization: Bearer <API key or JWT>."

    def __init__(self) -> None:
        super().__init__(self.DETAIL)


class ForbiddenError(CallerError):
    """Policy says no. The detail is constant, so that an org's existence cannot be probed."""

    code = "forbidden"
    DETAIL: ClassVar[str] = "The policy does not allow this caller to do this."

    def __init__(self) -> None:
        super().__init__(self.DETAIL)


class RateLimitedError(CallerError):
    """The caller is over its own ``rate_limit``.

    Args:
        retry_after: Seconds until the next request can succeed.

    """

    code = "rate_limited"
    retryable = True

    def __init__(self, retry_after: float) -> None:
        super().__init__("This caller is over its rate limit. Wait as Retry-After says.")
        self.retry_after = retry_after


class TenantError(BrokerError):
    """One tenant is broken; every other tenant is fine."""


class CredentialNotFoundError(TenantError):
    """Nothing is stored for this org and credential."""

    code = "credential_not_found"

    def __init__(self) -> None:
        super().__init__("No credential is stored for this org under this name. Ask the broker's operators to add it.")


class CredentialMisconfiguredError(TenantError):
    """The stored document is defective.

    Args:
        field: Name of the defective field of the document, such as ``private_key``.
        expected: What was expected there.

    """

    code = "credential_misconfigured"
    retry_after: float = 30.0

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"The stored credential is misconfigured: {field}: {expected}.")
        self.field = field
        self.expected = expected


class CredentialRejectedError(TenantError):
    """IMS refused the credential. Permanent for this generation of it.

    Args:
        ims_error: The OAuth error code of the answer, such as ``invalid_client``; cleaned of odd characters.
        debug_id: IMS' ``X-Debug-Id``, for Adobe's support; None where absent.
        hint: What usually causes this error, in a person's words.
        secret_refused: True where another client secret of the same credential may still be accepted.

    """

    code = "credential_rejected"

    def __init__(
        self, ims_error: str, debug_id: str | None = None, *, hint: str = "", secret_refused: bool = False
    ) -> None:
        known_as = f" (X-Debug-Id {debug_id})" if debug_id else ""
        remedy = f" {hint}" if hint else ""
        super().__init__(f"IMS refused this credential: {ims_error}{known_as}.{remedy}")
        self.ims_error = ims_error
        self.debug_id = debug_id
        self.secret_refused = secret_refused


class BadUpstreamResponseError(TenantError):
    """IMS answered something that is not a token we may trust; nothing of it is kept.

    Args:
        reason: What was wrong with the answer, never a part of it.
        debug_id: IMS' ``X-Debug-Id``; None where absent.

    """

    code = "bad_upstream_response"
    retryable = True

    def __init__(self, reason: str, debug_id: str | None = None) -> None:
        known_as = f" (X-Debug-Id {debug_id})" if debug_id else ""
        super().__init__(f"IMS gave an answer that cannot be trusted{known_as}: {reason}.")
        self.reason = reason
        self.debug_id = debug_id


class DependencyError(BrokerError):
    """An outside system does not answer; a later try may succeed.

    Args:
        detail: One sentence for a person.
        retry_after: Seconds after which a retry makes sense.

    """

    retryable = True

    def __init__(self, detail: str, retry_after: float = 5.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class CredentialStoreError(DependencyError):
    """The credential store cannot be read: Vault is unreachable, sealed, or refuses the broker itself."""

    code = "vault_unavailable"


class ImsUnavailableError(DependencyError):
    """IMS cannot be reached, throttles, or fails.

    Args:
        detail: One sentence for a person.
        retry_after: Seconds; what IMS asked for, where it did.
        throttled: True where IMS itself named a delay (429 or ``Retry-After``), which binds all replicas.
        debug_id: IMS' ``X-Debug-Id``; None where absent.

    """

    code = "ims_unavailable"

    def __init__(
        self, detail: str, retry_after: float = 5.0, *, throttled: bool = False, debug_id: str | None = None
    ) -> None:
        super().__init__(detail, retry_after)
        self.throttled = throttled
        self.debug_id = debug_id


class IdentityUnavailableError(DependencyError):
    """The caller's issuer is configured but its keys, or its review of a token, cannot be had: nobody can tell."""

    code = "identity_unavailable"


class OverloadedError(DependencyError):
    """A bound of this process was reached: too much work is waiting already, or a deadline passed."""

    code = "overloaded"

    def __init__(self, detail: str = "The broker is overloaded.", retry_after: float = 1.0) -> None:
        super().__init__(detail, retry_after)


class CacheUnavailableError(DependencyError):
    """The shared cache does not answer. The service goes on without it: no caller ever sees this error."""

    code = "cache_unavailable"
