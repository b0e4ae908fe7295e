"""The file that ``sandbox replay`` plays: JSON lines, each a fault with its time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

MAX_RECORDING_BYTES = 1024 * 1024
MAX_RECORDING_SECONDS = 7 * 86400.0


class RecordingError(ValueError):
    """A recording is malformed; the message is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class RecordedFault:
    """One line.

    Args:
        at: Seconds from the beginning.
        lasts: Seconds until it ends.
        order: Its other fields, as the sandbox takes them.

    """

    at: float
    lasts: float
    order: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class OutageRecording:
    """All lines, by time.

    Args:
        title: What happened, in words; may be empty.
        faults: At least one.

    """

    title: str
    faults: tuple[RecordedFault, ...]

    @property
    def seconds(self) -> float:
        """When the last fault ends."""
        return max(fault.at + fault.lasts for fault in self.faults)


def read_recording(text: str) -> OutageRecording:
    """Read a recording: JSON lines; an object with ``title`` may come first, and empty lines are skipped.

    Raises:
        RecordingError: A line is not a fault with ``at`` and ``lasts``.

    """
    title = ""
    faults: list[RecordedFault] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            document = _object(line)
            if not faults and not title and "title" in document:
                title = _title(document)
            else:
                faults.append(_recorded_fault(document))
        except RecordingError as error:
            raise RecordingError(f"line {number}: {error}") from None
    if not faults:
        raise RecordingError("it has no fault.")
    return OutageRecording(title, tuple(sorted(faults, key=lambda fault: fault.at)))


def _object(line: str) -> dict[str, object]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise RecordingError('it is not a JSON object such as {"at": 0, "lasts": 60, "kind": "status"}.')
    return document


def _title(document: Mapping[str, object]) -> str:
    title = document["title"]
    if set(document) - {"title", "source"} or not isinstance(title, str) or not title.isprintable() or not title:
        raise RecordingError("title must be one line of text, with nothing next to it but source.")
    return title


def _recorded_fault(document: Mapping[str, object]) -> RecordedFault:
    from app.sandbox.faults import InvalidFaultError, fault_from

    times = {name: _seconds(document, name) for name in ("at", "lasts")}
    order = {name: value for name, value in document.items() if name != "at"}
    try:
        fault_from(order)
    except InvalidFaultError as error:
        raise RecordingError(str(error)) from None
    return RecordedFault(times["at"], times["lasts"], {name: order[name] for name in order if name != "lasts"})


def _seconds(document: Mapping[str, object], name: str) -> float:
    value = document.get(name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= MAX_RECORDING_SECONDS:  # type: ignore[operator]  # it is a number here
        raise RecordingError(f"{name} must be a number of seconds, at most {MAX_RECORDING_SECONDS:g}.")
    return float(value)  # type: ignore[arg-type]  # see above
