"""`org import` of a document that names a key of AWS KMS, as a real process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import without
from tests.support.fleet import Fleet
from tests.support.kms_server import KMS_REGION, KmsServer, aws_variables
from tests.support.operator_desk import OperatorDesk


@pytest.fixture
def kms() -> Iterator[KmsServer]:
    """A stand-in of KMS."""
    with KmsServer().running() as server:
        yield server


@pytest.fixture
def desk(fleet: Fleet, tmp_path: Path, kms: KmsServer) -> OperatorDesk:
    """A desk at which KMS can sign."""
    made = OperatorDesk(fleet, tmp_path)
    made.env |= {"BROKER_KMS_REGION": KMS_REGION, "BROKER_KMS_ENDPOINT_URL": kms.url, **aws_variables(tmp_path)}
    return made


async def test_a_document_with_a_kms_key_is_proven_and_stored(desk: OperatorDesk, kms: KmsServer) -> None:
    """KMS signs the exchange that proves it, and the stored document has the name of the key and no private key."""
    tenant, key_id = desk.tenant(kind="jwt"), kms.create_key()
    kms.keys[key_id] = tenant.key.key
    document = {**without(tenant.document(), "private_key"), "kms_key": kms.arn(key_id)}
    finished = await desk.imports(desk.file(document), "--json")

    assert finished.code == 0, finished
    stored = desk.fleet.vault.read(f"secret/data/ims/{tenant.org}/default")["data"]["data"]
    assert (stored["kms_key"], "private_key" in stored) == (kms.arn(key_id), False)
    assert len(kms.seen) >= 1


async def test_a_key_that_does_not_sign_is_not_stored(desk: OperatorDesk, kms: KmsServer) -> None:
    """If KMS does not let the operator sign, the error names the field and the remedy, and nothing is written."""
    tenant, key_id = desk.tenant(kind="jwt"), kms.create_key()
    kms.refusal = "AccessDeniedException"
    document = {**without(tenant.document(), "private_key"), "kms_key": key_id}
    finished = await desk.imports(desk.file(document))

    assert finished.code in {1, 2}
    assert "kms_key" in finished.stderr
    assert "allow kms:Sign on it" in finished.stderr
    assert desk.fleet.vault.status_as(desk.fleet.vault.root_token, f"secret/data/ims/{tenant.org}/default") == 404
