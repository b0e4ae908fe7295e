"""Recordings of outages: what is read, and what is refused."""

from __future__ import annotations

import pytest

from app.cli.outage_recording import RecordingError, read_recording

FAULT = '{"at": 5, "lasts": 60, "kind": "status", "status": 429, "retry_after": "7"}'


def test_a_recording_is_read() -> None:
    """Faults are sorted by time, and the recording ends with the one that ends last."""
    first = '{"at": 0, "lasts": 100.5, "kind": "hang", "share": 0.5, "path": "/imp"}'
    recording = read_recording(f'{{"title": "Slow.", "source": "https://x.example"}}\n\n{FAULT}\n{first}\n')

    assert recording.title == "Slow."
    assert [fault.at for fault in recording.faults] == [0, 5]
    assert recording.faults[1].lasts == 60
    assert recording.faults[1].order == {"kind": "status", "status": 429, "retry_after": "7"}
    assert recording.seconds == 100.5


def test_a_title_is_optional() -> None:
    """A recording may begin with a fault."""
    assert read_recording(FAULT).title == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it has no fault"),
        ('{"title": "x"}', "it has no fault"),
        (f"{FAULT}\n[", "line 2: it is not a JSON object"),
        (f"\n{FAULT}\n[]", "line 3: it is not a JSON object"),
        ("[" * 100_000, "line 1: it is not a JSON object"),
        ('{"lasts": 1, "kind": "hang"}', "line 1: at must be a number"),
        ('{"at": 0, "kind": "hang"}', "line 1: lasts must be a number"),
        ('{"at": -1, "lasts": 1, "kind": "hang"}', "line 1: at must be a number"),
        ('{"at": true, "lasts": 1, "kind": "hang"}', "line 1: at must be a number"),
        ('{"at": NaN, "lasts": 1, "kind": "hang"}', "line 1: at must be a number"),
        ('{"at": 0, "lasts": 1e9, "kind": "hang"}', "line 1: lasts must be a number"),
        ('{"at": 0, "lasts": 0, "kind": "hang"}', "line 1: lasts must be a number"),
        ('{"at": 0, "lasts": 1, "kind": "nonsense"}', "line 1: kind must be one of"),
        ('{"at": 0, "lasts": 1, "kind": "hang", "x": 1}', "line 1: A fault has an unknown field"),
        (f'{{"title": "x"}}\n{{"title": "y"}}\n{FAULT}', "line 2: at must be a number"),
        (f'{{"title": "a\\u001bb"}}\n{FAULT}', "line 1: title must be one line"),
        (f'{{"title": "x", "at": 0}}\n{FAULT}', "line 1: title must be one line"),
    ],
)
def test_a_malformed_recording_is_refused(text: str, sentence: str) -> None:
    """The sentence names the line and what is wrong with it, before anything is played."""
    with pytest.raises(RecordingError) as caught:
        read_recording(text)
    assert str(caught.value).startswith(sentence)
