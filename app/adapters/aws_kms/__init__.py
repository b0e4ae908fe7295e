"""AWS KMS: a signer whose keys never leave it. Needs the extra ``aws``; imported only if BROKER_KMS_REGION is set.

The path of a call: `kms_signer` (threads of its own, a deadline) -> `kms_clients` (the SDK: login, SigV4, parsing) ->
`aws_transport` (TLS, egress proxy, bounds) -> KMS or STS.
"""

from app.adapters.aws_kms.kms_clients import KmsConfig
from app.adapters.aws_kms.kms_diagnosis import kms_finding
from app.adapters.aws_kms.kms_signer import KmsSigner

__all__ = ["KmsConfig", "KmsSigner", "kms_finding"]
