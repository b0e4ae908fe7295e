"""The key ring: which documents are refused and with which error, and which key seals and opens."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.shared_cache.key_ring import (
    MAX_CACHE_KEYS,
    MAX_KEY_RING_BYTES,
    NONCE_BYTES,
    CacheKey,
    KeyRing,
    KeyRingError,
    load_key_ring,
    new_key_ring,
)

CANARY = "Y2FuYXJ5"
"""The word canary in base64: a value that no error may show."""

KEY = base64.b64encode(b"canary-material-of-the-first-key").decode()
OTHER_KEY = base64.b64encode(b"canary-material-of-another-key-2").decode()
NONCE = b"n" * NONCE_BYTES


def document(*keys: object, **changes: object) -> bytes:
    """A key ring with these keys, or with one valid key."""
    return json.dumps({"version": 1, "keys": list(keys) or [good()], **changes}).encode()


def good(key_id: object = "k1", key: object = KEY, **changes: object) -> dict[str, object]:
    """A valid key with changes."""
    return {"id": key_id, "key": key, **changes}


def many(count: int) -> list[object]:
    """This number of valid keys."""
    return [good(f"k{number}", base64.b64encode(bytes([number]) * 32).decode()) for number in range(count)]


def refusal(unverified: bytes) -> KeyRingError:
    """Why a document is refused; the error shows no part of it."""
    with pytest.raises(KeyRingError) as refused:
        KeyRing.parse(unverified)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return refused.value


NO_KEYS: list[object] = [CANARY, None, [], {}, {"id": "k1", "created": CANARY}, {"key": KEY}, good(note=CANARY)]
SHORT = base64.b64encode(b"canary-material-of-the-first-ke").decode()
LONG = base64.b64encode(b"canary-material-of-the-first-key!").decode()


@pytest.mark.parametrize(("unverified", "place"), [
    (b"", "document"),
    (CANARY.encode(), "document"),
    (b'"' + CANARY.encode(), "document"),
    (b"\xff\xfe" + CANARY.encode(), "document"),
    (b"[" * 60_000, "document"),
    (b'{"version": ' + b"1" * 5000 + b"}", "document"),
    (f'["{CANARY}"]'.encode(), "document"),
    (b"null", "document"),
    (b'{"keys": []}', "document"),
    (document(**{CANARY: 1}), "document"),
    (document() + b" " * MAX_KEY_RING_BYTES, "document"),
    *((document(version=version), "version") for version in (2, 0, 1.0, True, "1", None, CANARY)),
    *((document(keys=keys), "keys") for keys in ([], {}, None, CANARY, {"0": good()}, many(MAX_CACHE_KEYS + 1))),
    *((document(good("k0", OTHER_KEY), item), "keys[1]") for item in NO_KEYS),
    *((document(good(key_id)), "keys[0].id")
      for key_id in ("", "K1", "k-1", "k1;", "k1\n", "\u0661", f"y{CANARY.lower()}0000000000", 1, None, [CANARY])),
    *((document(good(key=key)), "keys[0].key")
      for key in ("", CANARY, SHORT, LONG, KEY[:-1], KEY + "\n", f" {KEY}", KEY.replace("=", "\u00e9"),
                  KEY[:20] + "-" + KEY[21:], None, 7, [KEY], list(b"canary" * 6))),
    *((document(good(created=created)), "keys[0].created") for created in (None, 7, [CANARY])),
    (document(good(), good(key=OTHER_KEY)), "keys[1].id"),
    (document(good(), good("k2", OTHER_KEY), good("k3")), "keys[2].key"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_a_defect_names_its_place_and_never_the_value(unverified: bytes, place: str) -> None:
    """A key ring with any defect is refused as a whole; the error says where, and shows no part of the document."""
    refused = refusal(unverified)
    assert refused.place == place
    assert str(refused) == f"{place}: {refused.expected}"
    assert CANARY.lower() not in str(refused).lower()
    assert KEY[:8] not in repr(refused)


def test_all_keys_up_to_the_limit_are_read_in_order() -> None:
    """The first of up to 32 keys seals, and all keep their ids."""
    ring = KeyRing.parse(document(*many(MAX_CACHE_KEYS)))
    assert ring.ids == tuple(f"k{number}" for number in range(MAX_CACHE_KEYS))
    assert ring.sealing_id == "k0"


def test_an_empty_ring_is_refused() -> None:
    """A ring without keys is an error, not a ring that cannot seal."""
    with pytest.raises(KeyRingError, match=r"^keys: "):
        KeyRing([])


def test_old_keys_open_and_only_the_first_seals() -> None:
    """After a rotation, values of the old key open under its id, and new values need the new key."""
    old = KeyRing.parse(document(good()))
    rotated = KeyRing.parse(document(good("k2", OTHER_KEY), good()))
    assert rotated.open("k1", NONCE, old.seal(NONCE, b"plain", b"name"), b"name") == b"plain"
    sealed = rotated.seal(NONCE, b"plain", b"name")
    assert rotated.open("k2", NONCE, sealed, b"name") == b"plain"
    assert rotated.open("k1", NONCE, sealed, b"name") is None
    assert old.open("k1", NONCE, sealed, b"name") is None


@pytest.mark.parametrize(("key_id", "nonce", "cut", "bound_to"), [
    ("k1", NONCE, None, b"other"), ("k1", NONCE, None, b""), ("k1", b"m" * NONCE_BYTES, None, b"name"),
    ("k1", NONCE[1:], None, b"name"), ("k1", b"", None, b"name"), ("k1", NONCE * 20, None, b"name"),
    ("k1", NONCE, -1, b"name"), ("k1", NONCE, 15, b"name"), ("k1", NONCE, 0, b"name"),
    ("k2", NONCE, None, b"name"), ("", NONCE, None, b"name"),
])  # fmt: skip
def test_a_value_sealed_differently_does_not_open(key_id: str, nonce: bytes, cut: int | None, bound_to: bytes) -> None:
    """Another name, nonce, length or key gives None, never an exception and never a plain text."""
    ring = KeyRing.parse(document(good()))
    sealed = ring.seal(NONCE, b"plain", b"name")
    assert ring.open("k1", NONCE, sealed, b"name") == b"plain"
    assert ring.open(key_id, nonce, sealed[:cut], bound_to) is None


def test_no_repr_shows_key_material() -> None:
    """The repr of a ring and of a key shows only ids."""
    material = b"canary-material-of-the-first-key"
    key = CacheKey("k1", material)
    assert repr(key) == "CacheKey(id='k1')"
    assert repr(KeyRing([key])) == "KeyRing(ids=('k1',))"
    assert str(KeyRing([key])) == "KeyRing(ids=('k1',))"


def test_a_new_ring_has_one_key_of_the_random_bytes() -> None:
    """A new ring is a document that `parse` accepts, with 32 bytes from the given source."""
    asked: list[int] = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    text = new_key_ring(random_bytes, "k7", "2026-01-01T00:00:00Z")
    assert asked == [32]
    assert text.endswith("}\n")
    assert KeyRing.parse(text.encode()).ids == ("k7",)
    (key,) = json.loads(text)["keys"]
    assert (base64.b64decode(key["key"]), key["created"]) == (bytes(range(32)), "2026-01-01T00:00:00Z")


@pytest.mark.parametrize("key_id", ["", "K1", "k 1", "k" * 17, "k1\n"])
def test_a_new_ring_has_a_valid_id(key_id: str) -> None:
    """An id that `parse` would refuse is refused before a key is generated."""
    with pytest.raises(KeyRingError, match=r"^id: "):
        new_key_ring(lambda count: bytes(count), key_id, "")


def test_a_file_is_read(tmp_path: Path) -> None:
    """A file is read as the ring of its content; a file that cannot be read or is too large is refused."""
    path = tmp_path / "keys.json"
    path.write_bytes(document(good("k9")))
    assert load_key_ring(path).ids == ("k9",)
    for unreadable in (tmp_path, tmp_path / "none", path / "below"):
        with pytest.raises(KeyRingError, match=r"^file: (cannot be read: \w+|is a directory)"):
            load_key_ring(unreadable)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(KeyRingError, match=r"^file: is larger than 64 KiB$"):
        load_key_ring(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keys = st.fixed_dictionaries({}, optional={"id": json_values, "key": json_values, "created": json_values})


@settings(max_examples=400)
@given(
    st.binary(max_size=200)
    | st.fixed_dictionaries({"version": st.just(1), "keys": st.lists(keys, max_size=3) | json_values}).map(
        lambda ring: json.dumps(ring).encode()
    )
)
@example(b"\xef\xbb\xbf{}")
@example(b'{"version": NaN, "keys": Infinity}')
@example(b'{"version": 1, "keys": [{"id": "\\ud800", "key": "\\ud800"}]}')
def test_no_bytes_raise_anything_else(unverified: bytes) -> None:
    """Any bytes are a ring, or are refused with `KeyRingError`."""
    try:
        ring = KeyRing.parse(unverified)
    except KeyRingError:
        return
    assert ring.sealing_id in ring.ids


@pytest.mark.timeout(10)
def test_a_named_pipe_is_not_a_key_ring(tmp_path: Path) -> None:
    """A named pipe is refused at once: opening it would wait for a writer and block the start."""
    pipe = tmp_path / "keys.json"
    os.mkfifo(pipe)
    with pytest.raises(KeyRingError, match="is a named pipe, not a regular file"):
        load_key_ring(pipe)
