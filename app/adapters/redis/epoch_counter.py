"""Purge counters as Redis has them."""

from __future__ import annotations

import time

from app.domain.cache_entry import MAX_EPOCH_AHEAD

LONGEST_COUNTER = 15
"""More digits are not a time in milliseconds, and beyond what the scripts, whose numbers are doubles, can count."""


def counter(text: bytes | None) -> int:
    """A purge counter. Text that is not a number, or too high a one, counts as a lost counter, as after a flush."""
    if text is None or len(text) > LONGEST_COUNTER or not text.isdigit():
        return 0
    number = int(text)
    return number if is_plausible(number) else 0


def is_plausible(epoch: int) -> bool:
    """Whether a purge can have raised a counter to `epoch` by now. There is wide room for clocks that are wrong."""
    return 0 <= epoch <= int(time.time() * 1000) + MAX_EPOCH_AHEAD
