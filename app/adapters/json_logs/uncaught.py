"""Logs uncaught exceptions: Python would print their text, and reprs of objects."""

from __future__ import annotations

import logging
import sys
import threading

_log = logging.getLogger("app.uncaught")


def log_uncaught() -> None:
    """Log exceptions that end threads, and those that cannot be raised anywhere, instead of Python's own hooks."""
    sys.unraisablehook = _unraisable
    threading.excepthook = _in_thread


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    if isinstance(lost.object, bytes) and isinstance(lost.exc_value, UnicodeDecodeError):
        # Raised inside `ssl`, with the name itself. Anyone who can connect can cause it.
        _log.debug("A TLS client asked for a server name that is not ASCII; its connection was closed.")
        return
    _report("An exception could not be raised.", lost.exc_value)


def _in_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is not SystemExit:
        _report("A thread ended by an exception.", ended.exc_value)


def _report(message: str, error: BaseException | None) -> None:
    _log.error(message, exc_info=None if error is None else (type(error), error, error.__traceback__))
