"""A signer of AWS KMS in front of the stand-in, with the environment of its login."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from app.adapters.aws_kms import KmsConfig, KmsSigner
from app.domain.credential import JwtCredential
from app.domain.credential_document import parse_credential
from app.domain.errors import BrokerError
from app.egress import EgressProxy
from tests.support.documents import ALLOWED, jwt_document, ref_of, without
from tests.support.kms_server import KMS_REGION, KmsServer, aws_variables
from tests.support.recorded_events import RecordedEvents

_KMS_REF = ref_of(0xB1000)
ABSENT_KEY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The standard variables of a login with an access key, and no others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in aws_variables(tmp_path).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def kms() -> Iterator[KmsServer]:
    """A stand-in of KMS and STS."""
    with KmsServer().running() as server:
        yield server


@contextlib.asynccontextmanager
async def kms_signing(
    endpoint_url: str | None, sink: RecordedEvents | None = None, proxy: EgressProxy | None = None, **limits: float
) -> AsyncIterator[KmsSigner]:
    """A signer for an endpoint."""
    config = KmsConfig(KMS_REGION, endpoint_url, proxy)
    signer = KmsSigner(config, sink or RecordedEvents(), **limits)  # type: ignore[arg-type]  # whole numbers too
    try:
        yield signer
    finally:
        signer.close()


def kms_credential(key: str) -> JwtCredential:
    """A service account whose key is in KMS."""
    document = {**without(jwt_document(_KMS_REF), "private_key"), "kms_key": key}
    parsed = parse_credential(document, _KMS_REF, "1", ALLOWED)
    assert isinstance(parsed, JwtCredential)
    return parsed


async def kms_failure(signer: KmsSigner, key: str) -> BrokerError:
    """How a signature fails."""
    with pytest.raises(BrokerError) as caught:
        await signer.sign(kms_credential(key), {"sub": "x"})
    return caught.value


def signed_by(server: KmsServer, key_id: str, token: str) -> dict[str, object]:
    """The claims of a token that the key has signed."""
    key = server.keys[key_id]
    assert isinstance(key, RSAPrivateKey)
    return jwt.decode(token, key.public_key(), algorithms=["RS256"], options={"verify_aud": False})
