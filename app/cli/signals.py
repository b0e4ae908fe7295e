"""Ends by signal that leave nothing behind, however often and whenever the signals come."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Takes over Ctrl-C, SIGTERM and a closed terminal, and first only remembers them.

    The handlers are not taken back before all is cleaned up: a loop's own are, when it closes, and what remains to be
    done would then be at the mercy of one more signal.
    """

    def __init__(self) -> None:
        self._end: Callable[[], object] = lambda: None
        self._is_asked = False
        for number in ENDING_SIGNALS:
            # What was started with nohup shall outlive its terminal.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def calls(self, end: Callable[[], object]) -> None:
        """Call `end` at the first signal; all further ones are ignored.

        Args:
            end: Ends the work. Called at once where the signal has come already; runs between any two instructions.

        """
        self._end = end
        if self._is_asked:
            end()

    def interrupts(self) -> None:
        """Raise KeyboardInterrupt at the first signal, or now if it has arrived already."""
        self.calls(_interrupt)

    def is_over(self) -> None:
        """Ignore all signals from now on: the interpreter's own end would give them back their power to kill."""
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if not self._is_asked:
            self._is_asked = True
            self._end()


def _interrupt() -> None:
    raise KeyboardInterrupt
