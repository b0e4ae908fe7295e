"""Checks whether AWS KMS answers and accepts the broker's login, without any right and without any key."""

from __future__ import annotations

from app.adapters.aws_kms.kms_signer import KmsSigner
from app.diagnosis import CheckFinding, fine


async def kms_finding(signer: KmsSigner) -> CheckFinding:
    """That AWS KMS knows the broker.

    Raises:
        CredentialStoreError: It does not, or cannot be used.

    """
    await signer.reach()
    return fine("AWS KMS answers, and accepts the broker's AWS credentials. `org check` shows whether a key signs.")
