"""Durations on the command line, such as ``90s``, ``15m``, ``1h`` or ``30d``."""

from __future__ import annotations

import re

from app.cli.failure import USAGE, CommandError

_DURATION = re.compile(r"([0-9]{1,7})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(option: str, text: str) -> float:
    """Seconds.

    Raises:
        CommandError: It has another form; the sentence names the option.

    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise CommandError(f"{option} must be a number and a unit: 90s, 15m, 1h or 30d.", USAGE)
    return float(found[1]) * _SECONDS[found[2]]
