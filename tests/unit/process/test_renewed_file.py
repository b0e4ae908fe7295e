"""A file that is renewed while it is in use: loaded once, refused once, reported once."""

from __future__ import annotations

import pytest

from app.process.renewed_file import Look, RenewedFile, StillChangingError, stable_content


@pytest.fixture
def file() -> RenewedFile[str]:
    """A file with good content in force."""
    made = RenewedFile[str]()
    made.accept("good")
    return made


def test_new_content_is_not_used_at_first_sight() -> None:
    """New content must be seen twice in a row, even if no content is in force yet."""
    file = RenewedFile[str]()
    assert [file.look(seen) for seen in ("a", "b", "b")] == [Look.CHANGING, Look.CHANGING, Look.NEW]


def test_one_look_is_enough_if_its_reader_looks_twice() -> None:
    """The number of looks is an argument."""
    assert RenewedFile[str](looks=1).look("a") is Look.NEW
    assert [RenewedFile[str](looks=3).look("a") for _ in range(2)] == [Look.CHANGING] * 2


def test_the_content_in_force_is_unchanged(file: RenewedFile[str]) -> None:
    """It is not loaded again, even after other content was seen in between."""
    assert [file.look(seen) for seen in ("good", "half", "good", "good")] == [
        Look.UNCHANGED,
        Look.CHANGING,
        Look.UNCHANGED,
        Look.UNCHANGED,
    ]


def test_content_that_was_seen_before_the_last_look_does_not_count(file: RenewedFile[str]) -> None:
    """The looks must be consecutive."""
    assert [file.look(seen) for seen in ("a", "good", "a", "a")][2:] == [Look.CHANGING, Look.NEW]


def test_new_content_stays_new_until_it_is_judged(file: RenewedFile[str]) -> None:
    """Content that could not be loaded for another reason is tried again."""
    assert [file.look("next") for _ in range(3)] == [Look.CHANGING, Look.NEW, Look.NEW]
    file.accept("next")
    assert file.look("next") is Look.UNCHANGED
    assert [file.look("good") for _ in range(2)] == [Look.CHANGING, Look.NEW]


def test_refused_content_is_refused_once(file: RenewedFile[str]) -> None:
    """However often it is seen, it is not loaded again; other bad content is."""
    assert [file.look("bad") for _ in range(2)] == [Look.CHANGING, Look.NEW]
    file.refuse("bad")
    assert [file.look(seen) for seen in ("bad", "bad", "worse", "worse")] == [
        Look.REFUSED,
        Look.REFUSED,
        Look.CHANGING,
        Look.NEW,
    ]


def test_a_return_to_the_content_in_force_is_reported_once(file: RenewedFile[str]) -> None:
    """After that, the same bad content is reported again."""
    file.refuse("bad")
    assert [file.look(seen) for seen in ("good", "good", "bad", "bad")] == [
        Look.RESTORED,
        Look.UNCHANGED,
        Look.CHANGING,
        Look.NEW,
    ]


def test_accepted_content_ends_a_refusal(file: RenewedFile[str]) -> None:
    """Good new content after refused content is not a return to the old."""
    file.refuse("bad")
    file.accept("next")
    assert file.look("next") is Look.UNCHANGED


def test_settled_content_is_the_same_before_and_after() -> None:
    """The result belongs to the content that was there the whole time."""
    reads = iter(["half", "whole", "whole"])
    assert stable_content(next(reads), lambda: next(reads), str.upper) == ("whole", "WHOLE")
    assert stable_content("a", lambda: "a", len) == ("a", 1)


def test_content_that_never_settles_is_an_error() -> None:
    """The number of rounds is bounded."""
    reads = iter(range(100))
    with pytest.raises(StillChangingError):
        stable_content(next(reads), lambda: next(reads), lambda _: None, rounds=3)
    assert next(reads) == 4
