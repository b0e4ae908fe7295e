"""The errors of one tenant's credential: the branch of the tree in `app.domain.errors` below `TenantError`."""

from __future__ import annotations

from typing import ClassVar

from app.domain.errors import BrokerError


class TenantError(BrokerError):
    """One tenant is broken; every other tenant is fine."""

    answered: ClassVar[bool] = True
    """Whether the external system that raised it works: it answered properly, even with a refusal."""


class CredentialNotFoundError(TenantError):
    """Nothing is stored for this org and credential."""

    code = "credential_not_found"
    oauth_error = "invalid_request"

    def __init__(self) -> None:
        super().__init__("No credential is stored for this org under this name. Ask the broker's operators to add it.")


class CredentialMisconfiguredError(TenantError):
    """The stored document is defective.

    An immediate retry gives the same answer, so it is not retryable. An operator may correct the document at any time,
    so ``Retry-After`` says when to try again.

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
    """IMS refused the credential. The refusal is permanent for this generation of the credential.

    Args:
        ims_error: The OAuth error code of the answer, such as ``invalid_client``; without unusual characters.
        debug_id: The ``X-Debug-Id`` of IMS, for Adobe's support; None if absent.
        hint: The usual cause of this error, and what to do.
        secret_refused: True if another client secret of the same credential may still be accepted.

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
    """The answer of IMS is not a token that can be trusted; no part of it is kept.

    Args:
        reason: What is wrong with the answer; never quotes it.
        debug_id: The ``X-Debug-Id`` of IMS; None if absent.

    """

    code = "bad_upstream_response"
    answered = False
    retryable = True

    def __init__(self, reason: str, debug_id: str | None = None) -> None:
        known_as = f" (X-Debug-Id {debug_id})" if debug_id else ""
        super().__init__(f"IMS gave an answer that cannot be trusted{known_as}: {reason}.")
        self.reason = reason
        self.debug_id = debug_id
