"""``sandbox replay``: play a recorded outage on a running sandbox."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.failure import INTERRUPTED, USAGE, CommandError
from app.cli.sandbox_control import DEFAULT_SANDBOX_URL, SandboxControl, SandboxUrlOption
from app.cli.sandbox_fault import fault_sentence
from app.domain.amount import amount

if TYPE_CHECKING:
    from app.cli.outage_recording import OutageRecording

_SHORTEST = 0.001
"""Seconds. What the sandbox takes at least for the life of a fault."""


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recording (JSON lines).", show_default=False)],
    speed: Annotated[
        float, typer.Option(metavar="FACTOR", min=0.01, max=10_000, help="Replay this many times faster.")
    ] = 1.0,
    url: SandboxUrlOption = DEFAULT_SANDBOX_URL,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as one line of JSON.")] = False,
) -> None:
    """Replay a recorded outage on a running sandbox.

    Each line of FILE is a fault of the sandbox with "at" and "lasts", in seconds. It starts at its time and is removed
    at its end. --speed 60 replays an hour in a minute: it shortens both times, but not response delays or Retry-After.
    """
    recording, control = _recording(file), SandboxControl(url)
    playing = _Playing(control, recording, speed)
    try:
        playing.play()
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    finally:
        affecting = playing.ended()
    hits = sum(int(one["hits"]) for one in affecting)
    if as_json:
        summary = {"title": recording.title, "speed": speed, "seconds": recording.seconds}
        typer.echo(json.dumps({**summary, "faults": affecting, "hits": hits}))
    else:
        said = f"{amount(len(affecting), 'fault')} affected {amount(hits, 'request')}"
        typer.echo(f"{said} in {recording.seconds / speed:.1f} s.")


def _recording(file: Path) -> OutageRecording:
    from app.cli.outage_recording import MAX_RECORDING_BYTES, RecordingError, read_recording
    from app.process.regular_file import FileError, read_text

    try:
        return read_recording(read_text(file, MAX_RECORDING_BYTES))
    except FileError as error:
        raise CommandError(f"{error}.", USAGE) from None
    except RecordingError as error:
        raise CommandError(f"{file}: {error}", USAGE) from None


class _Playing:
    """One run of a recording."""

    def __init__(self, control: SandboxControl, recording: OutageRecording, speed: float) -> None:
        self._control = control
        self._recording = recording
        self._speed = speed
        self._times: dict[int, float] = {}

    def play(self) -> None:
        """Order each fault at its time, and wait until the last one has ended."""
        start = time.monotonic()
        if self._recording.title:
            typer.echo(self._recording.title, err=True)
        for fault in self._recording.faults:
            self._wait_until(start + fault.at / self._speed)
            lasts = max(_SHORTEST, fault.lasts / self._speed)
            added = self._control.add_fault({**fault.order, "lasts": lasts})
            self._times[int(added["id"])] = fault.at
            typer.echo(f"{fault.at:>8.1f} s  {fault_sentence({**added, 'lasts': fault.lasts})}", err=True)
        self._wait_until(start + self._recording.seconds / self._speed)

    def ended(self) -> list[dict[str, Any]]:
        """Remove the faults that were ordered; how many requests each of them affected."""
        ordered = [fault for fault in self._control.faults() if fault["id"] in self._times] if self._times else []
        for fault in ordered:
            self._control.remove_fault(int(fault["id"]))
        return [
            {"at": self._times[int(one["id"])], "kind": one["kind"], "seen": one["seen"], "hits": one["hits"]}
            for one in ordered
        ]

    @staticmethod
    def _wait_until(moment: float) -> None:
        time.sleep(max(0.0, moment - time.monotonic()))
