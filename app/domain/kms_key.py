"""How a document names a key of AWS KMS: a key id, an alias, or the ARN of one of them.

Forms: https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id. The region decides which host gets
the request, so it is parsed here and never used as it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.hosts import AWS_REGION

_HEX = "[0-9a-f]"
_KEY_ID = rf"(?:{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}|mrk-{_HEX}{{32}})"
_ALIAS = r"alias/[A-Za-z0-9/_-]{1,250}"
_PLACE = rf"arn:(?P<partition>aws(?:-[a-z]{{1,8}}){{0,3}}):kms:(?P<region>{AWS_REGION}):[0-9]{{12}}"
KMS_KEY = re.compile(rf"{_KEY_ID}|{_ALIAS}|{_PLACE}:(?:key/{_KEY_ID}|{_ALIAS})")


@dataclass(frozen=True, slots=True)
class KmsKey:
    """A key of AWS KMS.

    Args:
        key_id: The key id of the operation ``Sign``: a key id, an alias, or an ARN.
        region: The region of an ARN; None if the key is in the broker's own.
        partition: The partition of an ARN, such as ``aws``; None without one.

    """

    key_id: str
    region: str | None = None
    partition: str | None = None


def parse_kms_key(text: str) -> KmsKey:
    """Parse the name of a key.

    Raises:
        ValueError: It has none of the forms.

    """
    found = KMS_KEY.fullmatch(text)
    if found is None:
        raise ValueError("must be the id, the alias or the ARN of a key")
    return KmsKey(text, found["region"], found["partition"])
