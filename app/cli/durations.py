"""Durations on the command line."""

from __future__ import annotations

from app.cli.failure import USAGE, CommandError
from app.settings.duration import duration_seconds


def parse_duration(option: str, text: str) -> float:
    """Seconds of a duration such as ``90s``, ``15m``, ``1h`` or ``30d``.

    Raises:
        CommandError: It has another form; the sentence names the option.

    """
    try:
        return duration_seconds(text)
    except ValueError as error:
        raise CommandError(f"{option} {error}.", USAGE) from None
