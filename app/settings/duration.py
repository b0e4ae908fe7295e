"""Durations as text, such as ``90s``, ``15m``, ``72h`` or ``30d``; for settings and for the command line."""

from __future__ import annotations

import re

_DURATION = re.compile(r"([0-9]{1,7})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration_seconds(text: str) -> float:
    """Seconds.

    Raises:
        ValueError: It has another form.

    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("must be a number and a unit: 90s, 15m, 1h or 30d")
    return float(found[1]) * _SECONDS[found[2]]
