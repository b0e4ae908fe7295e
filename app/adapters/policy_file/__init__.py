"""The policy file as a `PolicySource`."""

from app.adapters.policy_file.source import MAX_FILE_BYTES, PolicyFile, read_policy
from app.adapters.policy_file.strict_yaml import decode_policy

__all__ = ["MAX_FILE_BYTES", "PolicyFile", "decode_policy", "read_policy"]
