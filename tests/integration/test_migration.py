"""The move of a credential to another kind or client, with real files, real exchanges, and the sandbox as Adobe."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from app.domain.adobe_import import ImportFileError
from app.domain.dependency_errors import ImsUnavailableError
from app.domain.import_file import ImportInput
from app.domain.stored_document import Version, credential_path, migration_path
from app.domain.tenant_errors import CredentialMisconfiguredError, CredentialRejectedError
from app.lifecycle.migration import Migration, MigrationError
from app.lifecycle.remove_credential import remove_credential, stored_version
from app.sandbox.clients import client_from
from app.sandbox.faults import Fault, FaultKind
from tests.support.ims_server import RunningSandbox, run_sandbox
from tests.support.rotating_tenant import RotatingTenant, rotating_tenant
from tests.support.tenants import Tenant, new_secret


class Moving:
    """A tenant, the client that it moves to, and the migration.

    Args:
        tenant: The tenant.

    """

    def __init__(self, tenant: RotatingTenant) -> None:
        self.tenant = tenant
        self.ref = tenant.ref
        self.new = Tenant(tenant.ims.base_url, org=tenant.tenant.org)
        scopes = tenant.content["scopes"]
        tenant.ims.sandbox.state.clients.put(client_from({**self.new.client(), "scopes": scopes}))
        self.candidate = {**self.new.document(), "scopes": scopes}
        self.migration = Migration(tenant.tools.documents, tenant.tools.canary)

    def given(self, *, whole: bool = True, **fields: object) -> ImportInput:
        """The file of the client that it moves to; unless it is `whole`, one of Adobe's."""
        return ImportInput("a document", self.ref, {**self.candidate, **fields}, whole)

    def exchanges(self) -> int:
        """How often IMS was asked."""
        return len(self.tenant.ims.sandbox.state.journal.entries())

    async def put(self, **changes: object) -> Version:
        """Let someone else change the document."""
        documents, path = self.tenant.tools.documents, credential_path(self.ref)
        stored = await documents.read(path)
        assert stored is not None
        return await documents.write(path, {**stored.content, **changes}, stored.version)


@pytest.fixture
async def ims() -> AsyncIterator[RunningSandbox]:
    """Adobe."""
    async with run_sandbox() as running:
        yield running


@pytest.fixture
async def moving(ims: RunningSandbox, tmp_path: Path) -> AsyncIterator[Moving]:
    """A tenant that is about to move."""
    async with rotating_tenant(ims, tmp_path) as tenant:
        yield Moving(tenant)


class TestSwitch:
    """The comparison, and what is written after it."""

    async def test_each_token_is_minted_once_and_the_new_one_once_more(self, moving: Moving) -> None:
        """A migration is three exchanges: the two that are compared, and one with what was written."""
        comparison = await moving.migration.switch(moving.given())
        assert {difference.what for difference in comparison.differences} == {"client_id"}
        assert moving.exchanges() == 3
        assert moving.tenant.content == moving.candidate

    async def test_a_refusal_carries_the_comparison(self, moving: Moving) -> None:
        """What the new token lacks is on the error, nothing is written, and no further exchange is needed for it."""
        before = moving.tenant.content
        with pytest.raises(MigrationError) as caught:
            await moving.migration.switch(moving.given(scopes=["openid"]))
        assert caught.value.comparison is not None
        assert caught.value.comparison.loses
        assert moving.exchanges() == 2
        assert moving.tenant.content == before

    async def test_what_no_file_of_adobe_has_is_kept(self, moving: Moving) -> None:
        """The sandbox and `not_before` of the stored document stay, and each other changed field is reported."""
        kept = {"sandbox": "prod", "not_before": "2026-01-01T00:00:00Z"}
        await moving.put(**kept)
        compared = await moving.migration.compare(moving.given(whole=False))
        comparison = await moving.migration.switch(moving.given(whole=False))
        assert moving.tenant.content == {**moving.candidate, **kept}
        assert compared == comparison
        changed = {change.field for change in comparison.changes}
        assert {"client_id", "client_secrets"} <= changed
        assert not changed & kept.keys()

    async def test_a_defect_of_the_file_is_one_of_the_file(self, moving: Moving) -> None:
        """A defective file is named as such, and not as the stored credential; IMS is not asked."""
        with pytest.raises(ImportFileError, match="has a defect in scopes"):
            await moving.migration.switch(moving.given(scopes=[]))
        assert moving.exchanges() == 0

    async def test_the_client_of_an_app_is_not_migrated(self, ims: RunningSandbox, tmp_path: Path) -> None:
        """An org of an app, and a file that names one, are refused with what to do instead."""
        async with rotating_tenant(ims, tmp_path, app="shared") as tenant:
            org, migration = tenant.ref, Migration(tenant.tools.documents, tenant.tools.canary)
            for document in ({"kind": "oauth_server_to_server"}, {"app": "shared"}):
                with pytest.raises(MigrationError, match="use `org import"):
                    await migration.compare(ImportInput("a document", org, dict(document), whole=True))


class TestBack:
    """The way back."""

    async def test_one_of_two_old_secrets_is_enough(self, ims: RunningSandbox, tmp_path: Path) -> None:
        """The document from before is written again although IMS refuses one of its two secrets by now."""
        gone, good = new_secret(), new_secret()
        async with rotating_tenant(ims, tmp_path, client_secrets=(gone, good), known_secrets=(good,)) as tenant:
            moving, before = Moving(tenant), tenant.content
            await moving.migration.switch(moving.given())
            await moving.migration.go_back(moving.ref)
            assert tenant.content == before
            assert await tenant.tools.documents.read(migration_path(moving.ref)) is None

    async def test_a_removed_credential_leaves_no_old_secret_behind(self, moving: Moving) -> None:
        """What a migration kept is removed with the credential."""
        documents = moving.tenant.tools.documents
        await moving.migration.switch(moving.given())
        assert await documents.read(migration_path(moving.ref)) is not None
        version = await stored_version(documents, moving.ref)
        await remove_credential(documents, moving.ref, version, destroy=True)
        assert await documents.read(migration_path(moving.ref)) is None


class Watching:
    """Does one thing at each pause of a watch.

    Args:
        steps: What happens, in order.

    """

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)
        self.slept = 0.0

    async def sleep(self, seconds: float) -> None:
        """Let the next thing happen."""
        self.slept += seconds
        if self._steps:
            self._steps.pop(0)()


class TestWatch:
    """The time after a migration."""

    async def test_a_refusal_by_ims_goes_back(self, moving: Moving) -> None:
        """If IMS refuses the new credential, the old document is back, and the error says so."""
        before = moving.tenant.content
        await moving.migration.switch(moving.given())
        clients = moving.tenant.ims.sandbox.state.clients
        refused = client_from({**moving.new.client(), "client_secrets": [new_secret()]})
        watching = Watching(lambda: None, lambda: clients.put(refused))
        with pytest.raises(CredentialRejectedError):
            await moving.migration.watch(moving.ref, 60.0, watching.sleep)
        assert moving.tenant.content == before
        assert watching.slept == 20.0

    async def test_an_outage_changes_nothing(self, moving: Moving) -> None:
        """While IMS fails, the new document stays; the watch fails only if the outage lasts to its end."""
        await moving.migration.switch(moving.given())
        faults = moving.tenant.ims.sandbox.state.faults
        watching = Watching(lambda: faults.add(Fault(kind=FaultKind.STATUS, status=503, count=1)))
        await moving.migration.watch(moving.ref, 25.0, watching.sleep)
        assert watching.slept == 25.0
        watching = Watching(lambda: faults.add(Fault(kind=FaultKind.STATUS, status=503, count=9)))
        with pytest.raises(ImsUnavailableError):
            await moving.migration.watch(moving.ref, 10.0, watching.sleep)
        assert moving.tenant.content == moving.candidate

    async def test_a_change_by_someone_else_is_not_undone(self, moving: Moving) -> None:
        """A document that someone else broke after the migration is reported and left as it is."""
        await moving.migration.switch(moving.given())
        await moving.put(scopes=[])
        with pytest.raises(CredentialMisconfiguredError):
            await moving.migration.watch(moving.ref, 10.0, Watching().sleep)
        assert moving.tenant.content == {**moving.candidate, "scopes": []}
