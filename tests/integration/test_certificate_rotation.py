"""The replacement of a key and its certificate, with real files, real exchanges, and the sandbox as Adobe."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.adapters.certificates import certificate_facts
from app.domain.certificate_rotation_state import SigningPair
from app.domain.secret_rotation_state import RotationError
from app.domain.stored_document import certificate_rotation_path
from app.domain.tenant_errors import CredentialRejectedError
from app.lifecycle.certificate_rotation import AwaitingUpload, CertificateReplaced, CertificateRotation
from tests.support.ims_server import RunningSandbox, run_sandbox
from tests.support.rotating_certificate import CertificateTenant, certificate_tenant, new_pair
from tests.support.rotating_tenant import Deadline, Killed
from tests.support.tenants import new_secret


@pytest.fixture
async def ims() -> AsyncIterator[RunningSandbox]:
    """Adobe."""
    async with run_sandbox() as running:
        yield running


@pytest.fixture
async def tenant(ims: RunningSandbox, tmp_path: Path) -> AsyncIterator[CertificateTenant]:
    """A tenant with one certificate."""
    async with certificate_tenant(ims, tmp_path) as rotating:
        yield rotating


class TestTheWayOfACertificate:
    """A rotation that nothing disturbs."""

    async def test_the_document_is_untouched_until_adobe_has_the_certificate(self, tenant: CertificateTenant) -> None:
        """Before the upload nothing changes; after it the document has the new pair, which vends without the old."""
        before = tenant.document
        pair = new_pair()
        rotation = tenant.rotation()
        for _ in range(2):
            outcome = await rotation.advance(tenant.ref, lambda: pair)
            assert isinstance(outcome, AwaitingUpload)
            assert outcome.certificate == pair.certificate
            assert tenant.document == before
        tenant.upload(pair.certificate)
        replaced = await rotation.advance(tenant.ref, new_pair)
        assert isinstance(replaced, CertificateReplaced)
        assert tenant.document == {**before, **pair.fields()}
        assert (replaced.new, replaced.old) == tuple(
            certificate_facts(pem) for pem in (pair.certificate, tenant.tenant.key.certificate)
        )
        await rotation.finish(tenant.ref)
        assert not await tenant.has_state()
        tenant.certificates(pair.certificate)
        assert await tenant.vends()

    async def test_an_outcome_that_was_not_reported_is_reported_again(self, tenant: CertificateTenant) -> None:
        """Until `finish`, each further run gives the same outcome and makes no new pair."""
        pair = new_pair()
        tenant.upload(pair.certificate)
        for _ in range(2):
            outcome = await tenant.rotation().advance(tenant.ref, lambda: pair)
            assert isinstance(outcome, CertificateReplaced)
            assert outcome.old is not None

    async def test_a_rotation_that_has_begun_can_be_forgotten(self, tenant: CertificateTenant) -> None:
        """`discard` forgets the new pair, unless the document has it."""
        pair = new_pair()
        await tenant.rotation().advance(tenant.ref, lambda: pair)
        await tenant.rotation().discard(tenant.ref)
        assert not await tenant.has_state()
        tenant.upload(pair.certificate)
        await tenant.rotation().advance(tenant.ref, lambda: pair)
        with pytest.raises(RotationError, match="has the new key already"):
            await tenant.rotation().discard(tenant.ref)
        await tenant.rotation().finish(tenant.ref)
        with pytest.raises(RotationError, match="No certificate rotation"):
            await tenant.rotation().discard(tenant.ref)

    async def test_other_changes_of_the_document_are_kept(self, tenant: CertificateTenant) -> None:
        """What someone changes while the upload is awaited is in the document afterwards."""
        pair = new_pair()
        await tenant.rotation().advance(tenant.ref, lambda: pair)
        tenant.put(sandbox="prod")
        await tenant.rotate(pair=pair)
        assert tenant.document["sandbox"] == "prod"
        assert tenant.document["certificate"] == pair.certificate


class TestKilledRotation:
    """A run that ends anywhere."""

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    async def test_the_tenant_vends_and_the_next_run_finishes(
        self, ims: RunningSandbox, tmp_path: Path, after: bool
    ) -> None:
        """For every call of a rotation: killed there, the tenant still vends, and the next run ends with a new pair."""
        number = 1
        while True:
            async with certificate_tenant(ims, tmp_path / f"{number}") as tenant:
                try:
                    await tenant.rotate(Deadline(number, after))
                except Killed:
                    pass
                else:
                    break
                assert await tenant.vends(), number
                await tenant.rotate()
                assert tenant.document["private_key"] != tenant.tenant.key.pkcs8, number
                assert not await tenant.has_state()
                tenant.certificates(str(tenant.document["certificate"]))
                assert await tenant.vends(), number
            number += 1
        assert number > 12

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    async def test_the_restore_of_the_old_pair_survives(self, ims: RunningSandbox, tmp_path: Path, after: bool) -> None:
        """For every call of a run that IMS makes write the old pair again: killed there, the next run restores it.

        IMS accepts the new key once, and refuses it from the time at which it is written.
        """
        number, restored = 1, False
        while not restored:
            async with certificate_tenant(ims, tmp_path / f"{number}") as tenant:
                pair, before = new_pair(), tenant.document
                tenant.upload(pair.certificate)

                def heard(step: str, tenant: CertificateTenant = tenant) -> None:
                    if step == "written":
                        tenant.certificates(tenant.tenant.key.certificate)

                try:
                    ended = await _end(tenant.rotation(Deadline(number, after), heard), tenant, pair)
                    restored = True
                except Killed:
                    if tenant.document != before:
                        tenant.certificates(tenant.tenant.key.certificate)
                    ended = await _end(tenant.rotation(heard=heard), tenant, pair)
                assert ended == "awaiting" or "the old pair is in the document again" in ended, number
                assert tenant.document == before, number
                assert await tenant.vends(), number
                # The certificate comes back, and the rotation ends well.
                tenant.upload(pair.certificate)
                await tenant.rotate()
                assert tenant.document == {**before, **pair.fields()}, number
            number += 1
        assert number > 12


class TestRefusedCertificates:
    """What a rotation does not touch."""

    async def test_a_key_that_is_refused_after_it_was_accepted_is_taken_back(self, tenant: CertificateTenant) -> None:
        """If IMS refuses the new pair once it is written, the old one is written again, and the next run goes on."""
        pair, before = new_pair(), tenant.document
        tenant.upload(pair.certificate)

        def heard(step: str) -> None:
            if step == "written":
                tenant.certificates(tenant.tenant.key.certificate)

        with pytest.raises(RotationError, match="the old pair is in the document again"):
            await tenant.rotation(heard=heard).advance(tenant.ref, lambda: pair)
        assert tenant.document == before
        tenant.upload(pair.certificate)
        await tenant.rotate()
        assert tenant.document["certificate"] == pair.certificate

    async def test_another_reason_of_ims_is_not_waited_for(self, ims: RunningSandbox, tmp_path: Path) -> None:
        """A client secret that IMS refuses is an error, not a missing upload."""
        async with certificate_tenant(ims, tmp_path, known_secrets=(new_secret(),)) as tenant:
            with pytest.raises(CredentialRejectedError, match="invalid_client"):
                await tenant.rotate()

    async def test_a_credential_without_a_certificate_has_none_to_replace(
        self, ims: RunningSandbox, tmp_path: Path
    ) -> None:
        """Another kind of credential is refused with the command that helps, and nothing is kept."""
        async with certificate_tenant(ims, tmp_path, kind="oauth_server_to_server") as tenant:
            with pytest.raises(RotationError, match="secret rotate"):
                await tenant.rotate()
            assert not await tenant.has_state()

    async def test_a_certificate_that_has_ended_is_not_kept(self, tenant: CertificateTenant) -> None:
        """A new certificate that Adobe would refuse is refused at once."""
        with pytest.raises(RotationError, match="It has ended"):
            await tenant.rotate(pair=new_pair(days_old=366))
        assert not await tenant.has_state()

    async def test_two_different_pairs_are_not_mixed(self, tenant: CertificateTenant) -> None:
        """A pair that differs from the one of a rotation that has begun is refused, and the first one stays."""
        first = new_pair()
        await tenant.rotation().advance(tenant.ref, new_pair, first)
        with pytest.raises(RotationError, match="--discard"):
            await tenant.rotation().advance(tenant.ref, new_pair, new_pair())
        outcome = await tenant.rotation().advance(tenant.ref, new_pair, first)
        assert isinstance(outcome, AwaitingUpload)
        assert outcome.certificate == first.certificate

    async def test_a_document_that_has_another_key_by_now_is_not_changed(self, tenant: CertificateTenant) -> None:
        """If someone replaced the new key before it was proven, the rotation stops and can be forgotten."""
        pair, old = new_pair(), tenant.document
        tenant.upload(pair.certificate)
        await tenant.rotation().advance(tenant.ref, lambda: pair)
        tenant.put(private_key=old["private_key"], certificate=old["certificate"])
        with pytest.raises(RotationError, match="changed during the rotation"):
            await tenant.rotation().advance(tenant.ref, new_pair)
        assert tenant.document == old
        await tenant.rotation().discard(tenant.ref)

    async def test_a_state_that_is_not_understood_stops_the_rotation(self, tenant: CertificateTenant) -> None:
        """A state that cannot be read is never guessed at."""
        await tenant.tools.documents.write(certificate_rotation_path(tenant.ref), {"step": "unknown"}, None)
        with pytest.raises(RotationError, match="cannot be read"):
            await tenant.rotate()


async def _end(rotation: CertificateRotation, tenant: CertificateTenant, pair: SigningPair) -> str:
    """How a run ends: the detail of its error, or what it waits for."""
    try:
        outcome = await rotation.advance(tenant.ref, lambda: pair)
    except RotationError as error:
        return error.detail
    return "awaiting" if isinstance(outcome, AwaitingUpload) else "replaced"


async def test_an_org_of_an_app_has_no_certificate(tenant: CertificateTenant) -> None:
    """A document that names an app is refused with the command that rotates the app's secret."""
    (tenant.folder / tenant.tenant.org / "default.json").write_text(json.dumps({"app": "shared"}))
    with pytest.raises(RotationError, match="`secret rotate --app`"):
        await tenant.rotation().advance(tenant.ref, new_pair)
