"""Exceptions that nobody catches, told in the log: Python would print their text, and reprs of objects."""

from __future__ import annotations

import logging
import sys
import threading

_log = logging.getLogger("app.uncaught")


def tell_uncaught() -> None:
    """Take over what Python does with exceptions in threads, and with those that cannot be raised anywhere."""
    sys.unraisablehook = _unraisable
    threading.excepthook = _in_thread


def _unraisable(told: sys.UnraisableHookArgs) -> None:
    if isinstance(told.object, bytes) and isinstance(told.exc_value, UnicodeDecodeError):
        # From the depths of `ssl`, with the name itself. Anybody who can connect can bring this about.
        _log.debug("A TLS client asked for a server name that is not ASCII; its connection was closed.")
        return
    _tell("An exception could not be raised.", told.exc_value)


def _in_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_type is not SystemExit:
        _tell("A thread ended by an exception.", told.exc_value)


def _tell(message: str, error: BaseException | None) -> None:
    _log.error(message, exc_info=None if error is None else (type(error), error, error.__traceback__))
