"""The problems of calls to Vault, and their meaning for the broker.

A `VaultProblemError` never has text from Vault. The exceptions of hvac hold whole responses, so they are never raised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum

from app.domain.dependency_errors import CredentialStoreError
from app.domain.errors import BrokerError


class VaultProblem(Enum):
    """Why a call failed; the value is the sentence for the operator."""

    BAD_TOKEN = "Vault refuses the broker's token."
    POLICY = "The Vault policy does not allow the broker to read there; check it, and BROKER_VAULT_MOUNT and _PREFIX."
    ABSENT = "Vault has nothing at that path."
    NO_MOUNT = "Vault has nothing mounted at that path; check BROKER_VAULT_MOUNT and BROKER_VAULT_TRANSIT_MOUNT."
    VERSION_2 = (
        "That path is of KV version 2; leave `data` out of BROKER_VAULT_MOUNT, and set BROKER_VAULT_KV_VERSION=2."
    )
    CHANGED = "The document was changed in Vault meanwhile."
    INVALID = "Vault says that the request is invalid."
    SEALED = "Vault is sealed or not initialised."
    BEHIND = "This Vault node does not have the newest data yet (412); if that lasts, check the cluster's replication."
    READ_ONLY = "This Vault node is read-only and did not forward the request; check its connection to the active node."
    RECOVERY = (
        "Vault is a disaster recovery secondary (472), which reads nothing; point BROKER_VAULT_ADDR to the primary."
    )
    STANDBY = "Vault is a standby node that did not forward the request; check that its cluster has an active node."
    NOT_READY = "Vault, or a load balancer in front of it, has no node that is ready (503)."
    THROTTLED = "Vault limits the rate of requests (429); check its rate limit quotas."
    REDIRECT = "Vault answers with a redirect, which is not followed; check BROKER_VAULT_ADDR."
    SERVER = "Vault fails with an internal error."
    UNEXPECTED_RESPONSE = "That server does not answer like Vault; check BROKER_VAULT_ADDR."
    UNREACHABLE = "Vault cannot be reached; check BROKER_VAULT_ADDR."
    UNTRUSTED = "Vault's TLS certificate is not trusted; check BROKER_VAULT_CACERT."
    CLIENT_CERTIFICATE = (
        "Vault accepts only connections with a client certificate that it trusts; check BROKER_VAULT_CERT_FILE and"
        " BROKER_VAULT_KEY_FILE."
    )
    SLOW = "Vault does not answer in time."
    SATURATED = "Too many calls to Vault are already waiting."
    CLOSED = "The connection to Vault is closed."


PASSING = frozenset(
    {
        VaultProblem.BEHIND,
        VaultProblem.READ_ONLY,
        VaultProblem.RECOVERY,
        VaultProblem.STANDBY,
        VaultProblem.NOT_READY,
        VaultProblem.THROTTLED,
    }
)
"""Problems that the next attempt may not have: it may reach another node, or the same one a moment later."""

OUTAGES = frozenset({VaultProblem.SEALED, VaultProblem.NOT_READY, VaultProblem.UNREACHABLE, VaultProblem.SLOW})
"""Problems of Vault as a whole. An internal error may be that of one path, so it is not among them."""

MAX_RETRY_AFTER = 60.0
"""The longest ``Retry-After`` that is passed on to callers, in seconds."""

_READ_ONLY = re.compile(r"read[ -]?only", re.IGNORECASE)


class VaultProblemError(Exception):
    """A call failed; for use within this package only.

    Args:
        problem: Why the call failed.
        retry_after: Seconds that Vault asked to wait, or None.

    """

    def __init__(self, problem: VaultProblem, retry_after: float | None = None) -> None:
        super().__init__(problem.name)
        self.problem = problem
        self.retry_after = retry_after


_BY_STATUS = {
    400: VaultProblem.INVALID,
    412: VaultProblem.BEHIND,
    429: VaultProblem.THROTTLED,
    472: VaultProblem.RECOVERY,
    473: VaultProblem.STANDBY,
    501: VaultProblem.SEALED,
    503: VaultProblem.SEALED,
}

_BY_WORDS = {
    "node not active": VaultProblem.STANDBY,
    "requested version for signing": VaultProblem.INVALID,
    "cannot be used with an existing key": VaultProblem.INVALID,
}
"""What a 500 is about, if it is not an error of Vault; by words of its message."""

Meaning = Mapping[VaultProblem, Callable[[], BrokerError]]
"""The errors for some problems of one operation, if they differ from the usual `CredentialStoreError`."""


def meant(error: VaultProblemError, meaning: Meaning) -> BrokerError:
    """The broker's error for `error`."""
    special = meaning.get(error.problem)
    if special is not None:
        return special()
    if error.retry_after is None:
        return CredentialStoreError(error.problem.value)
    return CredentialStoreError(error.problem.value, min(error.retry_after, MAX_RETRY_AFTER))


def refused(status: int, errors: object) -> VaultProblem:
    """Classify an answer of Vault that is not a success.

    Statuses as seen with Vault 1.21 and OpenBao 2.4. What only Vault Enterprise answers is as its documentation says:
    https://developer.hashicorp.com/vault/api-docs#http-status-codes and .../api-docs/system/health.

    Args:
        status: The HTTP status.
        errors: The ``errors`` member of the body, or None if there is no such body.

    """
    said = " ".join(map(str, errors)) if isinstance(errors, list) else ""
    match status:
        case 400 | 500 if _READ_ONLY.search(said):
            return VaultProblem.READ_ONLY
        case 400 if "check-and-set parameter did not match" in said:
            return VaultProblem.CHANGED
        case 403:
            return VaultProblem.BAD_TOKEN if _is_about_the_token(errors) else VaultProblem.POLICY
        case 404:
            # A missing path has an empty list, a deleted version has no list, and a missing mount has a message.
            return VaultProblem.NO_MOUNT if errors else VaultProblem.ABSENT
        case 503 if "sealed" not in said:
            return VaultProblem.NOT_READY
        case _ if status in _BY_STATUS:
            return _BY_STATUS[status]
        case _ if 300 <= status < 400:
            return VaultProblem.REDIRECT
        case _ if status >= 500:
            return next((problem for words, problem in _BY_WORDS.items() if words in said), VaultProblem.SERVER)
        case _:
            return VaultProblem.UNEXPECTED_RESPONSE


def _is_about_the_token(errors: object) -> bool:
    """Distinguish the two kinds of 403: a new login fixes only one of them.

    A token that is wrong, revoked or expired gives a list that ends in "invalid token" (Vault 1.21), or the bare
    "permission denied" (OpenBao, and Vault if no token came). A policy that says no gives a list with only that.
    """
    if not isinstance(errors, list):
        return False
    return errors == ["permission denied"] or any("invalid token" in str(error) for error in errors)


def outcome_of(meaning: Meaning, error: BaseException) -> str:
    """The outcome of a call that failed, for the metrics: an error code.

    Args:
        meaning: The errors for some problems of the operation.
        error: How the call failed.

    """
    if isinstance(error, VaultProblemError):
        return meant(error, meaning).code
    return error.code if isinstance(error, BrokerError) else CredentialStoreError.code


def reason_of(meaning: Meaning, error: BaseException) -> str | None:
    """Why a call failed, for the operator. Arguments as `outcome_of`."""
    if isinstance(error, VaultProblemError):
        return meant(error, meaning).detail
    return error.detail if isinstance(error, BrokerError) else None
