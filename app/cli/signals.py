"""Clean shutdown on signals, however many arrive and whenever they arrive."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Handles Ctrl-C, SIGTERM and a closed terminal; at first it only records them.

    The handlers stay installed until cleanup is done. An event loop removes its own handlers when it closes, and one
    more signal would then interrupt the rest of the cleanup.
    """

    def __init__(self) -> None:
        self._end: Callable[[], object] = lambda: None
        self._is_asked = False
        for number in ENDING_SIGNALS:
            # A process that was started with nohup keeps running after its terminal closes.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def calls(self, end: Callable[[], object]) -> None:
        """Call `end` at the first signal; ignore all later ones.

        Args:
            end: Ends the work. Called at once if a signal has arrived already; may run between any two instructions.

        """
        self._end = end
        if self._is_asked:
            end()

    def interrupts(self) -> None:
        """Raise KeyboardInterrupt at the first signal, or now if it has arrived already."""
        self.calls(_interrupt)

    def is_over(self) -> None:
        """Ignore all signals from now on: without this, a signal during interpreter shutdown would kill the process."""
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if not self._is_asked:
            self._is_asked = True
            self._end()


def _interrupt() -> None:
    raise KeyboardInterrupt
