"""Changes of a key ring: a new key is newer than all others, whatever the clock of the machine says."""

from __future__ import annotations

import json
import secrets

import pytest

from app.domain.rfc3339 import parse_rfc3339, rfc3339
from app.shared_cache.key_ring import KeyRing, KeyRingError
from app.shared_cache.key_ring_change import with_new_key, with_newest_sealing
from tests.support.cached_tokens import dated_key_ring, key_ring, key_ring_document

LAST = parse_rfc3339("2026-01-02T00:00:00Z")


@pytest.mark.parametrize(
    ("now", "created"), [(LAST + 60, LAST + 60), (LAST, LAST + 1), (0.0, LAST + 1)], ids=["later", "same", "behind"]
)
def test_a_new_key_is_newer_than_all_others(now: float, created: float) -> None:
    """The new key is last and was made last, even in the same second or by a clock that is behind."""
    ring = with_new_key(key_ring_document("k1", "k2", dated=True), secrets.token_bytes, "k3", now)
    assert json.loads(ring)["keys"][-1]["created"] == rfc3339(created)
    sealing = KeyRing.parse(with_newest_sealing(ring.encode()).encode())
    assert sealing.ids == ("k3", "k1", "k2")
    assert sealing.is_outdated("k1")
    assert sealing.is_outdated("k2")
    assert not sealing.is_outdated("k3")


def test_without_a_date_nothing_is_outdated() -> None:
    """A key is older than the first one only if both say when they were made; an unknown one is not."""
    assert dated_key_ring("k2", "k1").is_outdated("k1")
    for ring in (dated_key_ring("k1", "k2"), key_ring("k2", "k1"), dated_key_ring("k2")):
        assert not any(map(ring.is_outdated, ("k1", "k2")))


@pytest.mark.parametrize("before", [("k1", "k3", "k2"), ("k2", "k1", "k3"), ("k3", "k2", "k1")])
def test_the_key_that_was_made_last_seals_wherever_it_is(before: tuple[str, ...]) -> None:
    """The newest key comes to the front from any place; doing it again gives the very same text."""
    once = with_newest_sealing(key_ring_document(*before, dated=True))
    assert KeyRing.parse(once.encode()).sealing_id == "k3"
    assert with_newest_sealing(once.encode()) == once


def test_a_key_without_a_time_is_older_than_one_with_a_time() -> None:
    """Next to a key of `keys rotate`, one that a person wrote without a time is the old one."""
    added = with_new_key(key_ring_document("k1"), secrets.token_bytes, "k2", LAST)
    assert KeyRing.parse(with_newest_sealing(added.encode()).encode()).ids == ("k2", "k1")


def test_without_times_no_key_is_chosen() -> None:
    """If no key says when it was made, none is made to seal, because it could be the old one."""
    with pytest.raises(KeyRingError, match="do not say which one was made last"):
        with_newest_sealing(key_ring_document("k1", "k2"))
