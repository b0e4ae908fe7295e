"""While a release is rolled out or back, replicas of two releases share one Redis and read each other's records.

``stored/format-1.json`` was written by the first release. It is never regenerated: a change that cannot read it needs
a new format number, and then an upgrade costs one exchange per token.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from app.domain.names import TokenKey
from app.domain.token_record import RECORD_VERSION
from app.shared_cache.key_names import KeyNames
from app.shared_cache.sealing import RecordRefusedError, seal, unseal
from tests.support.cached_tokens import ALL_KEYS, KEY, key_ring, token_of

STORED = {
    record["name"]: base64.b64decode(record["sealed"])
    for record in json.loads((Path(__file__).parent / "stored" / "format-1.json").read_text())
}
NAMES = KeyNames()
RING = key_ring("k1")
MINTED_AT = 1_900_000_000.123


@pytest.mark.parametrize("key", ALL_KEYS, ids=lambda key: f"{key.ref.name}-{key.selection.label}")
def test_a_record_of_the_first_release_is_read(key: TokenKey) -> None:
    """A record of the first release has the same name and opens as the same token."""
    name = NAMES.token(key)
    assert unseal(STORED[name], RING, name, key) == token_of(key, minted_at=MINTED_AT, epoch=7)


def test_scripts_of_the_first_release_can_read_the_header() -> None:
    """A record of this release begins like one of the first, whose scripts read expiry and epoch in the header."""
    name = NAMES.token(KEY)
    ours = seal(token_of(KEY, minted_at=MINTED_AT, epoch=7), RING, name)
    header = b";".join(STORED[name].split(b";")[:4])
    assert ours.startswith(header + b";")


def test_a_record_of_a_later_release_is_not_removed() -> None:
    """This release cannot read a record of a later format, but does not remove it: later replicas may still use it."""
    name = NAMES.token(KEY)
    later = STORED[name].replace(b"itb1;", f"itb{RECORD_VERSION + 1};".encode(), 1)
    with pytest.raises(RecordRefusedError) as refused:
        unseal(later, RING, name, KEY)
    assert (refused.value.reason, refused.value.worthless) == ("version", False)
