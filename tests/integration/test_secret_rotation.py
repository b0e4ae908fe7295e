"""The rotation of a client secret, with real files, real exchanges, and the sandbox as Adobe's secrets API."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.domain.secret_rotation_state import RotationError, SecretsApiDeniedError, SecretsApiUnavailableError
from app.domain.stored_document import DocumentChangedError, credential_path
from app.domain.tenant_errors import CredentialRejectedError
from app.lifecycle.guided_rotation import GuidedRotation
from app.lifecycle.rotation_progress import NotDue, Rotated, RotationRules, Waiting
from app.sandbox.clients import SandboxClient
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
        assert isinstance(await tenant.rotation(AT_ONCE).advance(tenant.ref), Rotated)
        [new] = tenant.known_secrets
        assert new != old
        assert tenant.stored_secrets == [new]
        assert not await tenant.has_state()

    async def test_both_work_until_the_old_one_is_quiet(self, tenant: RotatingTenant) -> None:
        """The old secret stays, behind the new one, until no one has used it for the time that was asked for."""
        [old] = tenant.known_secrets
        outcome = await tenant.rotation(PATIENT).advance(tenant.ref)
        assert isinstance(outcome, Waiting)
        assert tenant.stored_secrets[1:] == [old]
        assert sorted(tenant.stored_secrets) == sorted(tenant.known_secrets)
        later = tenant.rotation(PATIENT, "later", clock=lambda: outcome.until + 1)
        assert isinstance(await later.advance(tenant.ref), Rotated)
        assert old not in tenant.known_secrets

    async def test_a_use_of_the_old_secret_postpones_its_end(self, tenant: RotatingTenant) -> None:
        """Someone else who still uses the old secret keeps it."""
        now = time.time()
        await tenant.rotation(PATIENT, clock=lambda: now - 7200).advance(tenant.ref)
        # By the clock of the rotation that was two hours ago; but someone used the old secret a moment ago.
        old = tenant.tenant
        await tenant.tools.canary.prove(tenant.ref, {**old.document(), "scopes": ["openid"]})
        outcome = await tenant.rotation(PATIENT, "later", clock=lambda: now).advance(tenant.ref)
        assert isinstance(outcome, Waiting)
        assert outcome.until == pytest.approx(now + 3600, abs=60)

    async def test_a_record_of_uses_that_is_not_current_proves_nothing(self, tenant: RotatingTenant) -> None:
        """As long as Adobe does not show that the new secret was used, it cannot show that the old one was not."""
        tenant.ims.sandbox.state.set_last_used_lag(600.0)
        rules = RotationRules(quiet_for=0.0)
        outcome = await tenant.rotation(rules).advance(tenant.ref)
        assert isinstance(outcome, Waiting)
        assert "does not show yet" in outcome.reason
        assert len(tenant.known_secrets) == 2

    async def test_a_young_secret_is_not_rotated(self, tenant: RotatingTenant) -> None:
        """A secret below the age that was asked for is not rotated."""
        before = tenant.known_secrets
        assert isinstance(await tenant.rotation(RotationRules(older_than=60.0)).advance(tenant.ref), NotDue)
        assert tenant.known_secrets == before


class TestKilled:
    """A run that ends anywhere."""

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    async def test_the_next_run_finishes_wherever_the_first_one_was_killed(
        self, ims: RunningSandbox, tmp_path: Path, after: bool
    ) -> None:
        """For every call of a rotation: killed there, the tenant still vends, and the next run leaves one secret."""
        number = 1
        while True:
            async with rotating_tenant(ims, tmp_path / f"{number}") as tenant:
                deadline = Deadline(number, after)
                try:
                    await tenant.rotation(AT_ONCE, "first", deadline).advance(tenant.ref)
                except Killed:
                    pass
                else:
                    break
                assert await tenant.vends(), number
                assert len(tenant.known_secrets) <= 2
                old = [secret for secret in tenant.known_secrets if secret in tenant.tenant.client_secrets]
                await tenant.rotation(AT_ONCE, "second").advance(tenant.ref)
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
            await tenant.rotation(AT_ONCE, "first").advance(tenant.ref)
        assert len(tenant.known_secrets) == 2
        [lost] = set(tenant.known_secrets) - set(tenant.stored_secrets)
        assert isinstance(await tenant.rotation(AT_ONCE, "second").advance(tenant.ref), Rotated)
        assert tenant.stored_secrets == list(tenant.known_secrets)
        assert lost not in tenant.known_secrets

    async def test_of_two_runs_one_stops(self, tenant: RotatingTenant) -> None:
        """A run that was overtaken by another one stops at its next step, and the other one finishes."""
        first = tenant.rotation(AT_ONCE, "first", Deadline(6, after=True))
        with pytest.raises(Killed):
            await first.advance(tenant.ref)
        assert isinstance(await tenant.rotation(PATIENT, "second").advance(tenant.ref), Waiting)
        third = tenant.rotation(AT_ONCE, "third")
        assert isinstance(await third.advance(tenant.ref), Rotated)
        assert len(tenant.known_secrets) == 1


class TestRefused:
    """What a rotation does not touch."""

    async def test_two_secrets_are_not_ours_to_delete(self, ims: RunningSandbox, tmp_path: Path) -> None:
        """A second secret that someone added is reported, and nothing is changed."""
        both = (new_secret(), new_secret())
        async with rotating_tenant(ims, tmp_path, client_secrets=both) as tenant:
            with pytest.raises(RotationError, match="two secrets of this credential already"):
                await tenant.rotation(AT_ONCE).advance(tenant.ref)
            assert tenant.known_secrets == both
            assert tenant.stored_secrets == list(both)

    async def test_a_document_that_was_changed_meanwhile_keeps_both_secrets(self, tenant: RotatingTenant) -> None:
        """If someone put another secret in front of the new one, nothing is deleted."""
        await tenant.rotation(PATIENT).advance(tenant.ref)
        before = tenant.known_secrets
        stored = await tenant.tools.documents.read(credential_path(tenant.ref))
        assert stored is not None
        swapped = {**stored.content, "client_secrets": tenant.stored_secrets[::-1]}
        await tenant.tools.documents.write(credential_path(tenant.ref), swapped, stored.version)
        with pytest.raises(RotationError, match="was changed during the rotation"):
            await tenant.rotation(AT_ONCE, "later").advance(tenant.ref)
        assert tenant.known_secrets == before

    async def test_a_new_secret_that_is_gone_is_reported(self, tenant: RotatingTenant) -> None:
        """If someone deleted the new secret at Adobe, the old one is kept."""
        [old] = tenant.known_secrets
        await tenant.rotation(PATIENT).advance(tenant.ref)
        state = tenant.ims.sandbox.state
        client = state.clients.find(tenant.tenant.client_id)
        assert client is not None
        state.clients.put(client_with(client, (old,)))
        with pytest.raises(RotationError, match="new secret was deleted at Adobe"):
            await tenant.rotation(AT_ONCE, "later").advance(tenant.ref)
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
                await tenant.rotation(AT_ONCE).advance(tenant.ref)
            assert not await tenant.has_state()

    async def test_an_outage_of_the_secrets_api_is_not_a_loss(
        self, tenant: RotatingTenant, ims: RunningSandbox
    ) -> None:
        """An exchange that works and a secrets API that does not answer: the next run goes on."""
        async with tenant.tools.secrets_api("http://127.0.0.1:9") as nowhere:
            broken = RotatingTenant(tenant.ims, tenant.tools, nowhere, tenant.folder, tenant.tenant)
            with pytest.raises(SecretsApiUnavailableError, match="cannot be reached"):
                await broken.rotation(AT_ONCE).advance(tenant.ref)
        assert isinstance(await tenant.rotation(AT_ONCE, "later").advance(tenant.ref), Rotated)

    async def test_an_outage_of_ims_deletes_nothing(self, tenant: RotatingTenant) -> None:
        """While IMS fails, the old secret is not deleted, whatever the options are."""
        outcome = await tenant.rotation(PATIENT).advance(tenant.ref)
        assert isinstance(outcome, Waiting)
        tenant.ims.sandbox.state.faults.add(Fault(kind=FaultKind.STATUS, status=503, count=10))
        with pytest.raises(Exception, match="IMS answered 503"):
            await tenant.rotation(AT_ONCE, "later").advance(tenant.ref)
        assert len(tenant.known_secrets) == 2


class TestByHand:
    """A rotation where a person adds and deletes secrets in the console."""

    async def test_the_new_secret_is_proven_and_written_in_front(self, ims: RunningSandbox, tmp_path: Path) -> None:
        """A secret that a person added is written in front of the old one; the second half drops the old one."""
        old, new = new_secret(), new_secret()
        async with rotating_tenant(ims, tmp_path, client_secrets=(old,), known_secrets=(old, new)) as tenant:
            rotation = GuidedRotation(tenant.tools.documents, tenant.tools.canary)
            await rotation.add(tenant.ref, new)
            assert tenant.stored_secrets == [new, old]
            await rotation.add(tenant.ref, new)
            assert tenant.stored_secrets == [new, old]
            await rotation.finish(tenant.ref)
            assert tenant.stored_secrets == [new]

    async def test_a_secret_that_ims_refuses_is_not_written(self, tenant: RotatingTenant) -> None:
        """A mistyped secret changes nothing."""
        before = tenant.stored_secrets
        with pytest.raises(CredentialRejectedError):
            await GuidedRotation(tenant.tools.documents, tenant.tools.canary).add(tenant.ref, new_secret())
        assert tenant.stored_secrets == before


async def test_a_state_of_another_kind_stops_the_rotation(tenant: RotatingTenant) -> None:
    """A state that cannot be understood is never guessed at."""
    from app.domain.stored_document import rotation_path

    await tenant.tools.documents.write(rotation_path(tenant.ref), {"step": "unknown"}, None)
    with pytest.raises(RotationError, match="cannot be understood"):
        await tenant.rotation(AT_ONCE).advance(tenant.ref)
    with pytest.raises(DocumentChangedError):
        await tenant.tools.documents.write(rotation_path(tenant.ref), {}, None)


def client_with(client: SandboxClient, secrets: tuple[str, ...]) -> SandboxClient:
    """The client with other secrets."""
    return dataclasses.replace(client, client_secrets=secrets)
