"""The rotation of a client secret, with real files, real exchanges, and the sandbox as Adobe's secrets API."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from typing_extensions import override

from app.adapters.directory import DirectoryDocuments
from app.domain.app_document import AppName
from app.domain.dependency_errors import CredentialStoreError
from app.domain.secret_owner import SecretOwner
from app.domain.secret_rotation_state import (
    ConsoleAccess,
    ListedSecret,
    NewSecret,
    RotationError,
    SecretsApiDeniedError,
    SecretsApiUnavailableError,
)
from app.domain.stored_document import DocumentChangedError, DocumentPath, Version, credential_path
from app.domain.tenant_errors import CredentialRejectedError
from app.lifecycle.find_owners import owners_with_ids, user_of_app
from app.lifecycle.guided_rotation import GuidedRotation
from app.lifecycle.rotation_progress import NotDue, Rotated, RotationRules, Waiting
from app.lifecycle.secret_rotation import SecretRotation
from app.ports import ClientSecrets
from app.sandbox.faults import Fault, FaultKind
from tests.support.ims_server import RunningSandbox, run_sandbox
from tests.support.rotating_tenant import Deadline, Killed, RotatingTenant, rotating_tenant
from tests.support.tenants import new_secret

AT_ONCE = RotationRules(at_once=True)
PATIENT = RotationRules(quiet_for=3600.0)


@pytest.fixture
async def ims() -> AsyncIterator[RunningSandbox]:
    """Adobe."""
    async with run_sandbox() as running:
        yield running


@pytest.fixture
async def tenant(ims: RunningSandbox, tmp_path: Path) -> AsyncIterator[RotatingTenant]:
    """A tenant with one secret."""
    async with rotating_tenant(ims, tmp_path) as rotating:
        yield rotating


class TestTheWay:
    """A rotation that nothing disturbs."""

    async def test_the_old_secret_is_replaced(self, tenant: RotatingTenant) -> None:
        """Afterwards Adobe and the document have the same one secret, a new one, and no state is left."""
        [old] = tenant.known_secrets
        assert isinstance(await tenant.rotation(AT_ONCE).advance(tenant.owner), Rotated)
        [new] = tenant.known_secrets
        assert new != old
        assert tenant.stored_secrets == [new]
        assert not await tenant.has_state()

    async def test_both_work_until_the_old_one_is_quiet(self, tenant: RotatingTenant) -> None:
        """The old secret stays, behind the new one, until no one has used it for the time that was asked for."""
        [old] = tenant.known_secrets
        outcome = await tenant.rotation(PATIENT).advance(tenant.owner)
        assert isinstance(outcome, Waiting)
        assert tenant.stored_secrets[1:] == [old]
        assert sorted(tenant.stored_secrets) == sorted(tenant.known_secrets)
        later = tenant.rotation(PATIENT, "later", clock=lambda: outcome.until + 1)
        assert isinstance(await later.advance(tenant.owner), Rotated)
        assert old not in tenant.known_secrets

    async def test_a_look_that_changes_nothing_writes_nothing(self, tenant: RotatingTenant) -> None:
        """A run that waits looks at its rotation again and again without a new version of its state."""
        watched = Deadline()
        rotation = tenant.rotation(PATIENT, deadline=watched)
        await rotation.advance(tenant.owner)
        written = watched.names.count("write")
        assert written > 0
        await rotation.advance(tenant.owner)
        assert watched.names.count("write") == written

    async def test_a_use_of_the_old_secret_postpones_its_end(self, tenant: RotatingTenant) -> None:
        """Someone else who still uses the old secret keeps it."""
        now = time.time()
        await tenant.rotation(PATIENT, clock=lambda: now - 7200).advance(tenant.owner)
        # By the clock of the rotation that was two hours ago; but someone used the old secret a moment ago.
        old = tenant.tenant
        await tenant.exchange({**old.document(), "scopes": ["openid"]})
        outcome = await tenant.rotation(PATIENT, "later", clock=lambda: now).advance(tenant.owner)
        assert isinstance(outcome, Waiting)
        assert outcome.until == pytest.approx(now + 3600, abs=60)

    async def test_a_record_of_uses_that_is_not_current_proves_nothing(self, tenant: RotatingTenant) -> None:
        """As long as Adobe does not show that the new secret was used, it cannot show that the old one was not."""
        tenant.ims.sandbox.state.set_last_used_lag(600.0)
        rules = RotationRules(quiet_for=0.0)
        outcome = await tenant.rotation(rules).advance(tenant.owner)
        assert isinstance(outcome, Waiting)
        assert "does not show yet" in outcome.reason
        assert len(tenant.known_secrets) == 2

    async def test_a_young_secret_is_not_rotated(self, tenant: RotatingTenant) -> None:
        """A secret below the age that was asked for is not rotated."""
        before = tenant.known_secrets
        assert isinstance(await tenant.rotation(RotationRules(older_than=60.0)).advance(tenant.owner), NotDue)
        assert tenant.known_secrets == before


class TestKilled:
    """A run that ends anywhere."""

    @pytest.mark.parametrize("app", [None, "shared"])
    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    async def test_the_next_run_finishes_wherever_the_first_one_was_killed(
        self, ims: RunningSandbox, tmp_path: Path, after: bool, app: str | None
    ) -> None:
        """For every call of a rotation: killed there, the tenant still vends, and the next run leaves one secret.

        The same holds for the secret of an app, which the org of a customer proves.
        """
        number = 1
        while True:
            async with rotating_tenant(ims, tmp_path / f"{number}", app=app) as tenant:
                deadline = Deadline(number, after)
                try:
                    await tenant.rotation(AT_ONCE, "first", deadline).advance(tenant.owner)
                except Killed:
                    pass
                else:
                    break
                assert await tenant.vends(), number
                assert len(tenant.known_secrets) <= 2
                old = [secret for secret in tenant.known_secrets if secret in tenant.tenant.client_secrets]
                await tenant.rotation(AT_ONCE, "second").advance(tenant.owner)
                assert tenant.stored_secrets == list(tenant.known_secrets), number
                assert len(tenant.stored_secrets) == 1
                # Killed after the last call, the first run was finished: the second one is a rotation of its own.
                assert tenant.known_secrets[0] not in old
                assert not await tenant.has_state()
                assert await tenant.vends()
            number += 1
        assert number > 12

    async def test_a_new_secret_whose_answer_is_lost_is_replaced(self, tenant: RotatingTenant) -> None:
        """If Adobe adds a secret and the answer does not arrive, the next run deletes it and adds another one."""
        # The second call lists the secrets once more, and the third one adds one.
        tenant.ims.sandbox.state.faults.add(Fault(kind=FaultKind.LATENCY, path="/console", count=2))
        tenant.ims.sandbox.state.faults.add(Fault(kind=FaultKind.LOST, path="/console", count=1))
        with pytest.raises(SecretsApiUnavailableError):
            await tenant.rotation(AT_ONCE, "first").advance(tenant.owner)
        assert len(tenant.known_secrets) == 2
        [lost] = set(tenant.known_secrets) - set(tenant.stored_secrets)
        assert isinstance(await tenant.rotation(AT_ONCE, "second").advance(tenant.owner), Rotated)
        assert tenant.stored_secrets == list(tenant.known_secrets)
        assert lost not in tenant.known_secrets

    async def test_of_two_runs_one_stops(self, tenant: RotatingTenant) -> None:
        """A run that was overtaken by another one stops at its next step, and the other one finishes."""
        first = tenant.rotation(AT_ONCE, "first", Deadline(6, after=True))
        with pytest.raises(Killed):
            await first.advance(tenant.owner)
        assert isinstance(await tenant.rotation(PATIENT, "second").advance(tenant.owner), Waiting)
        third = tenant.rotation(AT_ONCE, "third")
        assert isinstance(await third.advance(tenant.owner), Rotated)
        assert len(tenant.known_secrets) == 1


class TestRefused:
    """What a rotation does not touch."""

    async def test_two_secrets_are_not_ours_to_delete(self, ims: RunningSandbox, tmp_path: Path) -> None:
        """A second secret that someone added is reported, and nothing is changed."""
        both = (new_secret(), new_secret())
        async with rotating_tenant(ims, tmp_path, client_secrets=both) as tenant:
            with pytest.raises(RotationError, match="two secrets of this credential already"):
                await tenant.rotation(AT_ONCE).advance(tenant.owner)
            assert tenant.known_secrets == both
            assert tenant.stored_secrets == list(both)

    async def test_a_secret_that_someone_adds_in_the_same_moment_is_kept(self, tenant: RotatingTenant) -> None:
        """A run that began the rotation itself deletes no secret that it did not ask for."""
        [old] = tenant.known_secrets
        crowded = RotatingTenant(tenant.ims, tenant.tools, Crowded(tenant.api), tenant.folder, tenant.tenant)
        with pytest.raises(RotationError, match="Someone else added a secret"):
            await crowded.rotation(AT_ONCE).advance(tenant.owner)
        assert len(tenant.known_secrets) == 2
        assert tenant.stored_secrets == [old]

    async def test_a_document_that_was_changed_meanwhile_keeps_both_secrets(self, tenant: RotatingTenant) -> None:
        """If someone put another secret in front of the new one, nothing is deleted."""
        await tenant.rotation(PATIENT).advance(tenant.owner)
        before = tenant.known_secrets
        stored = await tenant.tools.documents.read(credential_path(tenant.ref))
        assert stored is not None
        swapped = {**stored.content, "client_secrets": tenant.stored_secrets[::-1]}
        await tenant.tools.documents.write(credential_path(tenant.ref), swapped, stored.version)
        with pytest.raises(RotationError, match="was changed during the rotation"):
            await tenant.rotation(AT_ONCE, "later").advance(tenant.owner)
        assert tenant.known_secrets == before

    async def test_a_new_secret_that_is_gone_is_reported(self, tenant: RotatingTenant) -> None:
        """If someone deleted the new secret at Adobe, the old one is kept."""
        [old] = tenant.known_secrets
        await tenant.rotation(PATIENT).advance(tenant.owner)
        tenant.knows(old)
        with pytest.raises(RotationError, match="new secret was deleted at Adobe"):
            await tenant.rotation(AT_ONCE, "later").advance(tenant.owner)
        assert tenant.known_secrets == (old,)
        assert await tenant.vends()

    async def test_without_the_scopes_the_remedy_is_named(self, ims: RunningSandbox, tmp_path: Path) -> None:
        """A credential that may not use the secrets API gets an error that says so, and how to rotate by hand."""
        async with rotating_tenant(ims, tmp_path) as tenant:
            stored = await tenant.tools.documents.read(credential_path(tenant.ref))
            assert stored is not None
            fewer = {**stored.content, "scopes": ["openid", "AdobeID"]}
            await tenant.tools.documents.write(credential_path(tenant.ref), fewer, stored.version)
            with pytest.raises(SecretsApiDeniedError, match=r"manage_client_secrets.*--new-secret-file"):
                await tenant.rotation(AT_ONCE).advance(tenant.owner)
            assert not await tenant.has_state()

    async def test_an_outage_of_the_secrets_api_is_not_a_loss(
        self, tenant: RotatingTenant, ims: RunningSandbox
    ) -> None:
        """An exchange that works and a secrets API that does not answer: the next run goes on."""
        async with tenant.tools.secrets_api("http://127.0.0.1:9") as nowhere:
            broken = RotatingTenant(tenant.ims, tenant.tools, nowhere, tenant.folder, tenant.tenant)
            with pytest.raises(SecretsApiUnavailableError, match="cannot be reached"):
                await broken.rotation(AT_ONCE).advance(tenant.owner)
        assert isinstance(await tenant.rotation(AT_ONCE, "later").advance(tenant.owner), Rotated)

    async def test_an_outage_of_ims_deletes_nothing(self, tenant: RotatingTenant) -> None:
        """While IMS fails, the old secret is not deleted, whatever the options are."""
        outcome = await tenant.rotation(PATIENT).advance(tenant.owner)
        assert isinstance(outcome, Waiting)
        tenant.ims.sandbox.state.faults.add(Fault(kind=FaultKind.STATUS, status=503, count=10))
        with pytest.raises(Exception, match="IMS answered 503"):
            await tenant.rotation(AT_ONCE, "later").advance(tenant.owner)
        assert len(tenant.known_secrets) == 2


class TestDiscarded:
    """A rotation that is forgotten."""

    async def test_a_new_secret_that_is_gone_leaves_the_old_one(self, tenant: RotatingTenant) -> None:
        """If the new secret was deleted at Adobe, the document has the old one alone, and a new rotation can begin."""
        [old] = tenant.known_secrets
        await tenant.rotation(PATIENT).advance(tenant.owner)
        tenant.knows(old)
        await tenant.discard()
        assert tenant.stored_secrets == [old]
        assert not await tenant.has_state()
        assert isinstance(await tenant.rotation(AT_ONCE, "later").advance(tenant.owner), Rotated)

    async def test_a_new_secret_that_is_in_use_is_kept(self, tenant: RotatingTenant) -> None:
        """A rotation whose new secret IMS accepts is to be finished, and is not forgotten."""
        await tenant.rotation(PATIENT).advance(tenant.owner)
        before = tenant.stored_secrets
        with pytest.raises(RotationError, match="without --discard to finish"):
            await tenant.discard()
        assert (tenant.stored_secrets, await tenant.has_state()) == (before, True)

    async def test_a_state_that_is_not_understood_can_be_forgotten(self, tenant: RotatingTenant) -> None:
        """What stops each run can be removed by a command; the document stays as it is."""
        before = tenant.stored_secrets
        await tenant.tools.documents.write(tenant.owner.state_path, {"step": "unknown"}, None)
        await tenant.discard()
        assert (tenant.stored_secrets, await tenant.has_state()) == (before, False)
        with pytest.raises(RotationError, match="No rotation of a secret has begun"):
            await tenant.discard()


class TestApp:
    """The secret of an app, which orgs share."""

    async def test_an_org_that_does_not_use_the_app_proves_nothing(self, ims: RunningSandbox, tmp_path: Path) -> None:
        """The org that proves the secret must use the app, and the app must be stored."""
        async with rotating_tenant(ims, tmp_path, app="shared") as tenant:
            other = SecretOwner(tenant.ref, AppName("other"))
            with pytest.raises(RotationError, match="does not use the app other"):
                await tenant.rotation(AT_ONCE).advance(other)
            (tmp_path / "_apps" / "shared.json").unlink()
            with pytest.raises(RotationError, match="No app shared is stored"):
                await tenant.rotation(AT_ONCE).advance(tenant.owner)

    async def test_an_org_has_no_secret_of_its_own_to_rotate(self, ims: RunningSandbox, tmp_path: Path) -> None:
        """For the org of an app, the option that helps is named."""
        async with rotating_tenant(ims, tmp_path, app="shared") as tenant:
            with pytest.raises(RotationError, match="rotate them with --app"):
                await tenant.rotation(AT_ONCE).advance(SecretOwner(tenant.ref))

    async def test_the_owners_are_found(self, ims: RunningSandbox, tmp_path: Path) -> None:
        """An app with the console's ids is found once, with an org that uses it; an app that no org uses is not."""
        async with rotating_tenant(ims, tmp_path, app="shared") as tenant:
            store, documents = tenant.tools.store, tenant.tools.documents
            assert await owners_with_ids(store, documents) == [tenant.owner]
            assert await user_of_app(store, documents, AppName("shared")) == tenant.owner
            with pytest.raises(RotationError, match="No org uses the app other"):
                await user_of_app(store, documents, AppName("other"))
            app = await documents.read(tenant.owner.document_path)
            assert app is not None
            content = {name: value for name, value in app.content.items() if not name.startswith("console_")}
            await documents.write(tenant.owner.document_path, content, app.version)
            assert await owners_with_ids(store, documents) == []

    async def test_by_hand(self, ims: RunningSandbox, tmp_path: Path) -> None:
        """A secret from the console is proven by an org of the app, and written into the app's document."""
        old, new = new_secret(), new_secret()
        async with rotating_tenant(
            ims, tmp_path, app="shared", client_secrets=(old,), known_secrets=(old, new)
        ) as tenant:
            rotation = GuidedRotation(tenant.tools.documents, tenant.tools.canary)
            await rotation.add(tenant.owner, new)
            assert tenant.stored_secrets == [new, old]
            await rotation.finish(tenant.owner)
            assert tenant.stored_secrets == [new]


class LosingAnswers(DirectoryDocuments):
    """Files whose writes succeed, and whose answers to them are all lost."""

    @override
    async def write(self, path: DocumentPath, content: Mapping[str, object], expected: Version | None) -> Version:
        """Write, and fail as a store that does not answer."""
        await super().write(path, content, expected)
        raise CredentialStoreError("The answer is lost.")


async def test_a_lost_answer_does_not_stop_a_rotation(tenant: RotatingTenant) -> None:
    """If the store writes each step but does not answer, the rotation sees its own write, and finishes."""
    [old] = tenant.known_secrets
    documents = LosingAnswers(tenant.folder)
    rotation = SecretRotation(documents, tenant.tools.canary, tenant.api, time.time, "run", AT_ONCE)
    assert isinstance(await rotation.advance(tenant.owner), Rotated)
    await documents.aclose()
    assert tenant.stored_secrets == list(tenant.known_secrets) != [old]


class TestByHand:
    """A rotation where a person adds and deletes secrets in the console."""

    async def test_the_new_secret_is_proven_and_written_in_front(self, ims: RunningSandbox, tmp_path: Path) -> None:
        """A secret that a person added is written in front of the old one; the second half drops the old one."""
        old, new = new_secret(), new_secret()
        async with rotating_tenant(ims, tmp_path, client_secrets=(old,), known_secrets=(old, new)) as tenant:
            rotation = GuidedRotation(tenant.tools.documents, tenant.tools.canary)
            await rotation.add(tenant.owner, new)
            assert tenant.stored_secrets == [new, old]
            await rotation.finish(tenant.owner)
            assert tenant.stored_secrets == [new]

    async def test_a_secret_that_is_stored_already_is_refused(self, ims: RunningSandbox, tmp_path: Path) -> None:
        """The secret in use, and a new one that was given before, are refused with what to do; nothing is written."""
        old, new = new_secret(), new_secret()
        async with rotating_tenant(ims, tmp_path, client_secrets=(old,), known_secrets=(old, new)) as tenant:
            rotation = GuidedRotation(tenant.tools.documents, tenant.tools.canary)
            with pytest.raises(RotationError, match="the one that the document has now"):
                await rotation.add(tenant.owner, old)
            assert tenant.stored_secrets == [old]
            await rotation.add(tenant.owner, new)
            for stored in (new, old):
                with pytest.raises(RotationError, match="with --finish"):
                    await rotation.add(tenant.owner, stored)
            assert tenant.stored_secrets == [new, old]

    async def test_one_secret_alone_leaves_nothing_to_finish(self, tenant: RotatingTenant) -> None:
        """Without a second secret the end of a rotation is refused, so that no one deletes the secret in use."""
        before = tenant.stored_secrets
        with pytest.raises(RotationError, match="there is nothing to finish"):
            await GuidedRotation(tenant.tools.documents, tenant.tools.canary).finish(tenant.owner)
        assert tenant.stored_secrets == before

    async def test_a_secret_that_ims_refuses_is_not_written(self, tenant: RotatingTenant) -> None:
        """A mistyped secret changes nothing."""
        before = tenant.stored_secrets
        with pytest.raises(CredentialRejectedError):
            await GuidedRotation(tenant.tools.documents, tenant.tools.canary).add(tenant.owner, new_secret())
        assert tenant.stored_secrets == before


async def test_a_state_of_another_kind_stops_the_rotation(tenant: RotatingTenant) -> None:
    """A state that cannot be read is never guessed at."""
    await tenant.tools.documents.write(tenant.owner.state_path, {"step": "unknown"}, None)
    with pytest.raises(RotationError, match="cannot be read"):
        await tenant.rotation(AT_ONCE).advance(tenant.owner)
    with pytest.raises(DocumentChangedError):
        await tenant.tools.documents.write(tenant.owner.state_path, {}, None)


class Crowded:
    """Adobe's secrets API, at which someone else adds a secret before the second look at the list.

    Args:
        api: The real one.

    """

    def __init__(self, api: ClientSecrets) -> None:
        self._api = api
        self._looks = 0

    async def listed(self, access: ConsoleAccess) -> tuple[ListedSecret, ...]:
        """As `ClientSecrets.listed`."""
        self._looks += 1
        if self._looks == 2:
            await self._api.add(access)
        return await self._api.listed(access)

    async def add(self, access: ConsoleAccess) -> NewSecret:
        """As `ClientSecrets.add`."""
        return await self._api.add(access)

    async def delete(self, access: ConsoleAccess, uuid: str) -> None:
        """As `ClientSecrets.delete`."""
        await self._api.delete(access, uuid)
