"""Checks whether the directory of credentials can be read, and its documents with it."""

from __future__ import annotations

from app.adapters.directory.store import DirectoryCredentialStore
from app.diagnosis import CheckFinding, fine, warning
from app.domain.amount import amount
from app.domain.tenant_errors import TenantError

_MOST = 1000
"""Documents that are read; more would take too long."""


async def directory_finding(store: DirectoryCredentialStore) -> CheckFinding:
    """How many documents can be read.

    Raises:
        CredentialStoreError: The directory or a file cannot be read.

    """
    refs = await store.refs()
    for ref in refs[:_MOST]:
        try:
            await store.fetch(ref)
        except TenantError as error:
            return warning(f"{ref.org}/{ref.name}: {error.detail}", "`org list` shows all defective documents.")
    if not refs:
        return warning("It is empty.", "Store a credential with `org import`.")
    return fine(f"{amount(len(refs), 'credential')}; {min(len(refs), _MOST)} read.")
