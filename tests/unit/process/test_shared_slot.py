"""A value in shared memory is read whole, or not at all."""

from __future__ import annotations

import os
import signal
import time

import pytest

from app.process.shared_slot import SharedSlot


def test_the_latest_value_is_read() -> None:
    """An empty slot has no bytes; each write replaces the value, also by a shorter one."""
    slot = SharedSlot(100)
    assert slot.read() == b""
    for value in (b"one", b"another value", b"", b"x" * 100):
        slot.write(value)
        assert slot.read() == value
    with pytest.raises(ValueError, match="larger"):
        slot.write(b"x" * 101)
    assert slot.read() == b"x" * 100


def test_a_value_of_another_process_is_never_mixed() -> None:
    """While a child writes without end, each read has one of its values; after it is killed, too."""
    slot = SharedSlot(100_000)
    child = os.fork()
    if child == 0:
        number = 0
        while True:
            number += 1
            slot.write(str(number % 10).encode() * (number % 90_000))
    try:
        values, until = set[bytes](), time.monotonic() + 20
        while len(values) < 100 and time.monotonic() < until:
            values.add(slot.read())
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert all(len(set(value)) <= 1 for value in (*values, slot.read()))
    assert len(values) == 100
    slot.write(b"of the next writer")
    assert slot.read() == b"of the next writer"


def test_a_value_that_is_being_overwritten_is_not_read() -> None:
    """A reader that finds the new bytes of a half under its old number has the value before instead."""
    slot = SharedSlot(100)
    slot.write(b"before")
    slot.write(b"aaaa")
    place = slot._memory.find(b"aaaa")
    slot._memory[place : place + 2] = b"bb"
    assert slot.read() == b"before"


def test_a_read_does_not_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no whole value is there, the read ends without a pause, because it may run in an event loop."""
    slot = SharedSlot(16)
    for _ in range(2):
        slot.write(b"whole")
    size = len(slot._memory)
    slot._memory[:] = b"\xff" * size

    def pause(_seconds: float) -> None:
        raise AssertionError("slept")

    monkeypatch.setattr(time, "sleep", pause)
    assert slot.read() == b""
