"""The import of a credential: proven, then written over the version that was compared, then read back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.adobe_import import ImportFileError
from app.domain.dependency_errors import CredentialStoreError, ImsUnavailableError
from app.domain.errors import BrokerError
from app.domain.stored_document import DocumentChangedError
from app.domain.tenant_errors import CredentialRejectedError
from app.lifecycle.import_credential import NotReadBackError
from tests.fakes import DAY, FakeCredentialStore
from tests.support.documents import CANARY, SECRET, jwt_document, oauth_document
from tests.support.import_bench import PATH, REF, ImportBench, given
from tests.support.keys import key_pair

DOCUMENT = oauth_document(REF)
OTHER = oauth_document(REF, client_secrets=[f"{CANARY}-first", f"{CANARY}-second"])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[ImportBench]:
    """A bench on an empty directory."""
    made = ImportBench(tmp_path)
    yield made
    await made.aclose()


async def test_each_secret_is_proven_before_anything_is_written(bench: ImportBench) -> None:
    """Each client secret is exchanged once, with all scopes, and nothing is written before the last one."""
    prepared = await bench.prepare(OTHER)

    assert [grant.form["client_secret"] for grant in bench.exchanger.grants] == OTHER["client_secrets"]
    assert [len(proof.token.scopes) for proof in prepared.proofs] == [2, 2]
    assert (await bench.stored(), bench.documents.writes) == (None, 0)
    await bench.importer.apply(prepared)
    assert await bench.stored() == OTHER


@pytest.mark.parametrize("failure", [CredentialRejectedError("invalid_client"), ImsUnavailableError("away")])
async def test_nothing_is_written_if_the_second_secret_is_not_proven(bench: ImportBench, failure: BrokerError) -> None:
    """A refusal or an outage at any secret leaves the stored document as it was."""
    await bench.run(DOCUMENT)
    bench.exchanger.refused_secrets[f"{CANARY}-second"] = failure

    with pytest.raises(type(failure)):
        await bench.run(OTHER)
    assert (await bench.stored(), bench.documents.writes) == (DOCUMENT, 1)


async def test_the_same_document_again_is_nothing_to_do(bench: ImportBench) -> None:
    """An import of what is stored already makes no exchange and no new version."""
    await bench.run(DOCUMENT)
    again = await bench.run({**DOCUMENT, "scopes": "AdobeID openid"})

    assert (again, bench.documents.writes, len(bench.exchanger.grants)) == (None, 1, 1)


async def test_a_newer_version_is_never_overwritten(bench: ImportBench) -> None:
    """If someone else writes between the comparison and the write, nothing is written, and their version stays."""
    await bench.run(DOCUMENT)
    prepared = await bench.prepare(OTHER)
    theirs = oauth_document(REF, client_secrets=[f"{CANARY}-theirs"])
    found = await bench.documents.read(PATH)
    assert found is not None
    await bench.documents.inner.write(PATH, theirs, found.version)

    with pytest.raises(DocumentChangedError, match="was changed by someone else meanwhile"):
        await bench.importer.apply(prepared)
    assert await bench.stored() == theirs


async def test_two_first_imports_at_once(bench: ImportBench) -> None:
    """Of two imports that both found nothing stored, one is refused."""
    first, second = await bench.prepare(DOCUMENT), await bench.prepare(OTHER)
    await bench.importer.apply(first)

    with pytest.raises(DocumentChangedError):
        await bench.importer.apply(second)
    assert await bench.stored() == DOCUMENT


async def test_a_lost_answer_to_a_write_does_not_fail_the_import(bench: ImportBench) -> None:
    """If the store wrote and its answer was lost, the import succeeds."""
    bench.documents.failure = CredentialStoreError("no answer")

    assert await bench.run(DOCUMENT) is not None
    assert await bench.stored() == DOCUMENT


@pytest.mark.parametrize("before", [None, DOCUMENT])
async def test_what_cannot_be_read_back_is_undone(bench: ImportBench, before: dict[str, object] | None) -> None:
    """If the broker cannot read the new document, the previous one is stored again, or none if there was none."""
    if before is not None:
        await bench.run(before)
    broken = FakeCredentialStore()
    broken.failure = CredentialStoreError("The store is away.")
    importer = bench.importer_with(broken)

    with pytest.raises(NotReadBackError, match=r"the change was undone: The store is away\."):
        await importer.apply(await importer.prepare(given(OTHER)))
    assert await bench.stored() == before


async def test_another_document_in_place_of_the_new_one_is_undone(bench: ImportBench) -> None:
    """If the broker reads something else in the new version, the change is undone."""
    other = FakeCredentialStore()
    importer = bench.importer_with(other)
    prepared = await importer.prepare(given(OTHER))
    version = await bench.run(OTHER)
    found = await bench.documents.read(PATH)
    assert found is not None
    await bench.documents.remove(PATH, found.version)
    other.put(replace(bench.canary.parsed(REF, DOCUMENT), generation=str(version)))

    with pytest.raises(NotReadBackError, match="it differs from what was written"):
        await importer.apply(prepared)
    assert await bench.stored() is None


async def test_a_certificate_that_has_ended_is_refused_before_ims_is_asked(bench: ImportBench) -> None:
    """An ended certificate is refused with its date, because IMS would only say that the signature is wrong."""
    pair = key_pair()
    bench.clock.now = pair.not_after + DAY
    document = jwt_document(REF, private_key=pair.pkcs8, certificate=pair.certificate)

    with pytest.raises(
        ImportFileError, match=r"has a defect in certificate: It has ended on 20.*: IMS refuses what its key signs"
    ):
        await bench.run(document)
    assert bench.exchanger.grants == []


async def test_a_certificate_that_ends_soon_is_a_note(bench: ImportBench) -> None:
    """A certificate that ends within 30 days is imported, and a person reads so."""
    pair = key_pair()
    bench.clock.now = pair.not_after - 10 * DAY
    prepared = await bench.prepare(jwt_document(REF, private_key=pair.pkcs8, certificate=pair.certificate))

    assert [note.partition(" on ")[0] for note in prepared.notes] == ["The certificate: It ends"]
    assert len(prepared.proofs) == 1


async def test_a_defect_is_named_without_its_value(bench: ImportBench) -> None:
    """A defective file is refused with the field and what is expected; nothing is asked and nothing is written."""
    with pytest.raises(ImportFileError) as caught:
        await bench.run(oauth_document(REF, client_secrets=[f"{CANARY} with blanks"]))

    assert "has a defect in client_secrets" in str(caught.value)
    assert CANARY not in str(caught.value)
    assert (bench.exchanger.grants, bench.documents.writes) == ([], 0)


async def test_the_sandbox_of_the_stored_document_is_kept(bench: ImportBench) -> None:
    """What no file of Adobe has stays; a document of the broker is stored as it is."""
    await bench.run({**DOCUMENT, "sandbox": "prod"})
    await bench.run(OTHER)
    assert await bench.stored() == {**OTHER, "sandbox": "prod"}
    await bench.run(OTHER, whole=True)
    assert await bench.stored() == OTHER


async def test_no_secret_is_in_a_repr(bench: ImportBench) -> None:
    """What the workflow hands on shows no secret, and no token."""
    prepared = await bench.prepare(DOCUMENT)

    assert SECRET not in repr(prepared)
    assert "eyJ" not in repr(prepared)
