"""Errors of external systems: not the fault of a caller or a tenant, and worth a retry."""

from __future__ import annotations

from app.domain.errors import BrokerError


class DependencyError(BrokerError):
    """An external system does not answer; a retry may succeed.

    Args:
        detail: One sentence for a person.
        retry_after: Seconds after which a retry makes sense.

    """

    retryable = True
    retry_after: float

    def __init__(self, detail: str, retry_after: float = 5.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class CredentialStoreError(DependencyError):
    """The credential store or a remote signer cannot be used: Vault or AWS KMS is away, or refuses the broker.

    Both have one code, because a caller does the same: wait. The sentence says which of them it is.
    """

    code = "vault_unavailable"


class ImsUnavailableError(DependencyError):
    """IMS cannot be reached, throttles, or fails.

    Args:
        detail: One sentence for a person.
        retry_after: Seconds; the delay that IMS asked for, if it named one.
        throttled: True if IMS itself named a delay (429 or ``Retry-After``), which applies to all replicas.
        debug_id: The ``X-Debug-Id`` of IMS; None if absent.

    """

    code = "ims_unavailable"

    def __init__(
        self, detail: str, retry_after: float = 5.0, *, throttled: bool = False, debug_id: str | None = None
    ) -> None:
        super().__init__(detail, retry_after)
        self.throttled = throttled
        self.debug_id = debug_id


class ExchangeDeferredError(ImsUnavailableError):
    """IMS throttles this client, and its budget is used up for now.

    Args:
        seconds: Until the next exchange may be tried.

    """

    def __init__(self, seconds: float) -> None:
        super().__init__("IMS throttles this client, and other exchanges come first.", seconds)


class IdentityUnavailableError(DependencyError):
    """The caller's issuer is configured, but its keys or its review of a token are unavailable.

    The caller can be neither accepted nor refused.
    """

    code = "identity_unavailable"


class OverloadedError(DependencyError):
    """A limit of this process was reached: too many requests are waiting, or a deadline has passed."""

    code = "overloaded"

    def __init__(self, detail: str = "The broker is overloaded.", retry_after: float = 1.0) -> None:
        super().__init__(detail, retry_after)


class CacheUnavailableError(DependencyError):
    """The shared cache does not answer. The broker continues without it, so no caller ever sees this error."""

    code = "cache_unavailable"
