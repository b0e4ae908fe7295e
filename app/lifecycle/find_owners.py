"""Finds in the credential store whose client secrets can be rotated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from app.domain.app_document import AppName, app_of
from app.domain.dependency_errors import CredentialStoreError
from app.domain.errors import BrokerError
from app.domain.names import CredentialRef
from app.domain.secret_owner import SecretOwner
from app.domain.secret_rotation_state import ConsoleIds, RotationError
from app.domain.stored_document import credential_path
from app.lifecycle.in_parallel import in_parallel
from app.ports import CredentialStore, DocumentStore

_AT_ONCE = 16
"""Documents that are read at a time."""


async def owners_with_ids(store: CredentialStore, documents: DocumentStore) -> list[SecretOwner]:
    """All credentials and apps whose documents have the console's ids. A defective document is one of them.

    Raises:
        CredentialStoreError: The store cannot be listed.

    """
    users: dict[AppName, CredentialRef] = {}
    owners = []
    for found in await in_parallel(await store.refs(), partial(_owner, documents), _AT_ONCE):
        if isinstance(found, _Unreadable):
            owners.append(SecretOwner(found.ref))
        elif found is not None and found.app is not None:
            # One org proves the secrets of an app: the same one in each run.
            users[found.app] = min(users.get(found.app, found.ref), found.ref, key=credential_path)
        elif found is not None:
            owners.append(found)
    apps = [SecretOwner(ref, app) for app, ref in users.items()]
    owners += [app for app in apps if await _has_ids(documents, app)]
    return sorted(owners, key=lambda owner: owner.state_path)


async def user_of_app(store: CredentialStore, documents: DocumentStore, app: AppName) -> SecretOwner:
    """The app, with an org that uses it.

    Raises:
        RotationError: No org uses it.
        CredentialStoreError: The store cannot be read.

    """
    refs = await store.refs()
    for first in range(0, len(refs), _AT_ONCE):
        for found in await in_parallel(refs[first : first + _AT_ONCE], partial(_owner, documents), _AT_ONCE):
            if isinstance(found, _Unreadable) and isinstance(found.error, CredentialStoreError):
                raise found.error
            if isinstance(found, SecretOwner) and found.app == app:
                return found
    raise RotationError(f"No org uses the app {app}, so no exchange can prove its secret.")


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A credential whose document cannot be read, or is defective; its rotation reports that."""

    ref: CredentialRef
    error: BrokerError


async def _owner(documents: DocumentStore, ref: CredentialRef) -> SecretOwner | _Unreadable | None:
    """The app that a document names, or the credential if its document has ids."""
    try:
        stored = await documents.read(credential_path(ref))
        if stored is None:
            return None
        app = app_of(stored.content)
        if app is None and ConsoleIds.of(stored.content) is None:
            return None
    except BrokerError as error:
        return _Unreadable(ref, error)
    return SecretOwner(ref, app)


async def _has_ids(documents: DocumentStore, owner: SecretOwner) -> bool:
    try:
        stored = await documents.read(owner.document_path)
        return stored is not None and ConsoleIds.of(stored.content) is not None
    except BrokerError:
        return True
