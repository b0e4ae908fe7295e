"""The problems of calls to Vault, and their meaning for the broker.

A `VaultProblemError` never has text from Vault. The exceptions of hvac hold whole responses, so they are never raised.
"""

from __future__ import annotations

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
    INVALID = "Vault says that the request is invalid."
    SEALED = "Vault is sealed or not initialised."
    THROTTLED = "Vault limits the rate of requests."
    REDIRECT = "Vault answers with a redirect, which is not followed; check BROKER_VAULT_ADDR."
    SERVER = "Vault fails with an internal error."
    UNEXPECTED_RESPONSE = "That server does not answer like Vault; check BROKER_VAULT_ADDR."
    UNREACHABLE = "Vault cannot be reached; check BROKER_VAULT_ADDR."
    UNTRUSTED = "Vault's TLS certificate is not trusted; check BROKER_VAULT_CACERT."
    SLOW = "Vault does not answer in time."
    SATURATED = "Too many calls to Vault are already waiting."
    CLOSED = "The connection to Vault is closed."


class VaultProblemError(Exception):
    """A call failed; for use within this package only."""

    def __init__(self, problem: VaultProblem) -> None:
        super().__init__(problem.name)
        self.problem = problem


Meaning = Mapping[VaultProblem, Callable[[], BrokerError]]
"""The errors for some problems of one operation, if they differ from the usual `CredentialStoreError`."""


def meant(problem: VaultProblem, meaning: Meaning) -> BrokerError:
    """The broker's error for `problem`."""
    special = meaning.get(problem)
    return CredentialStoreError(problem.value) if special is None else special()


def refused(status: int, errors: object) -> VaultProblem:
    """Classify an answer of Vault that is not a success (statuses as seen with Vault 1.21 and OpenBao 2.4).

    Args:
        status: The HTTP status.
        errors: The ``errors`` member of the body, or None if there is no such body.

    """
    match status:
        case 403:
            return VaultProblem.BAD_TOKEN if _is_about_the_token(errors) else VaultProblem.POLICY
        case 404:
            # A missing path has an empty list, a deleted version has no list, and a missing mount has a message.
            return VaultProblem.NO_MOUNT if errors else VaultProblem.ABSENT
        case 400:
            return VaultProblem.INVALID
        case 429:
            return VaultProblem.THROTTLED
        case 501 | 503:
            return VaultProblem.SEALED
        case _ if 300 <= status < 400:
            return VaultProblem.REDIRECT
        case _ if status >= 500:
            return VaultProblem.SERVER
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
        return meant(error.problem, meaning).code
    return error.code if isinstance(error, BrokerError) else CredentialStoreError.code


def reason_of(meaning: Meaning, error: BaseException) -> str | None:
    """Why a call failed, for the operator. Arguments as `outcome_of`."""
    if isinstance(error, VaultProblemError):
        return meant(error.problem, meaning).detail
    return error.detail if isinstance(error, BrokerError) else None
