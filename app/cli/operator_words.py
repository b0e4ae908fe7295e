"""Errors of the broker in the words of the command line, whose reader is the operator and not a caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.domain.errors import BrokerError


def operator_sentence(error: BrokerError) -> str:
    """What is wrong and what to do, for whoever may change what is stored."""
    from app.domain.tenant_errors import CredentialNotFoundError

    if isinstance(error, CredentialNotFoundError):
        # Its own sentence sends a caller to the operator, who is the reader here.
        return "No credential is stored for this org under this name. Add one with: ims-token-broker org import FILE"
    return error.detail
