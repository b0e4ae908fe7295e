"""The check of AWS KMS that `doctor` makes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kms_server import KMS_REGION, KmsServer, aws_variables
from tests.support.processes import run_cli


@pytest.fixture
def server() -> Iterator[KmsServer]:
    """A stand-in of KMS."""
    with KmsServer().running() as running:
        yield running


async def found(server: KmsServer, folder: Path, **aws: str) -> dict[str, str]:
    """What `doctor` says of KMS, in a set-up that has little else."""
    settings = {
        "BROKER_POLICY_FILE": str(folder / "policy.yaml"),
        "BROKER_CREDENTIAL_STORE": "directory",
        "BROKER_CREDENTIAL_DIR": str(folder),
        "BROKER_IMS_BASE_URLS": "http://127.0.0.1:1",
        "BROKER_KMS_REGION": KMS_REGION,
        "BROKER_KMS_ENDPOINT_URL": server.url,
    }
    ended = await run_cli("doctor", "--json", env={**settings, **aws_variables(folder), **aws})
    [check] = [check for check in json.loads(ended.stdout)["checks"] if check["name"] == "aws kms"]
    return dict(check)


@pytest.mark.parametrize("code", [None, "AccessDeniedException"])
async def test_kms_knows_the_broker(server: KmsServer, tmp_path: Path, code: str | None) -> None:
    """The check is fine if KMS refuses only the key, which does not exist, with or without the right to sign."""
    server.refusal = code
    check = await found(server, tmp_path)

    assert check["status"] == "ok"
    assert check["detail"].startswith("AWS KMS answers, and accepts the broker's AWS credentials.")


async def test_kms_does_not_know_the_broker(server: KmsServer, tmp_path: Path) -> None:
    """The check fails with the sentence of the signer and a remedy if the login is not accepted."""
    check = await found(server, tmp_path, AWS_ACCESS_KEY_ID="AKIAANOTHER")

    assert check["status"] == "failed"
    assert "does not accept the broker's AWS credentials" in check["detail"]
    assert "IAM role" in check["remedy"]
