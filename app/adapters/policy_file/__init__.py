"""The policy file as a `PolicySource`."""

from app.adapters.policy_file.source import MAX_POLICY_BYTES, PolicyFile, read_policy
from app.adapters.policy_file.strict_yaml import decode_policy

__all__ = ["MAX_POLICY_BYTES", "PolicyFile", "decode_policy", "read_policy"]
