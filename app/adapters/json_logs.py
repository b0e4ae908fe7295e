"""Operational logs: JSON lines on standard error, redacted. A thread writes them, so that a stuck reader stalls nobody.

An exception is told by its type and by the names and lines of its stack: its text and its locals may hold a secret.
"""

from __future__ import annotations

import atexit
import json
import logging
import math
import os
import queue
import re
import threading
import time
import traceback
from typing import Final

from typing_extensions import override

from app.domain.errors import BrokerError, PolicyError
from app.domain.events import (
    CacheRecordRefused,
    CredentialPurged,
    DependencyCalled,
    Event,
    ExchangeFinished,
    PolicyLoaded,
    PolicyRefused,
    RefreshFailed,
    TaskFailed,
)
from app.domain.names import CredentialRef, TokenKey

MAX_WAITING = 10_000
"""Lines that may wait to be written; further ones are lost and counted."""

LOGGER: Final = "ims_token_broker"

_STDERR = 2
_FLUSH_SECONDS = 1.0
_MAX_TEXT = 8192
_MAX_CAUSES = 5
_MAX_FRAMES = 40
_CHATTY = ("httpx2", "httpcore2", "httpx", "httpcore", "urllib3", "requests", "hvac", "redis", "asyncio", "uvicorn")
"""Libraries that log URLs, headers or objects below WARNING."""

_REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"(?i)pass(word|wd|phrase)|secret|token(?!_sha256|_type)|authori[sz]ation|private_?key|api_?key(?!_sha256)|assertion"
)
_SECRET_VALUE = re.compile(
    r"""(?isx)
      -----BEGIN[ ].*?(?:-----END[^-]*-----|\Z)            # PEM
    | eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){0,4}        # JWT, signed or encrypted, also cut short
    | \bhv[sbr]\.[A-Za-z0-9_-]{8,}                         # Vault token
    | \bs\.[A-Za-z0-9]{20,}                                # Vault token, older form
    | \bitb_[A-Za-z0-9]+_[A-Za-z0-9_-]+                    # our API key
    | \bp8e-[A-Za-z0-9_-]+                                 # Adobe client secret
    | \b(?:bearer|basic)[ ]+[A-Za-z0-9._~+/=-]{8,}
    | (?<=:)//?[^/\s:@]*:[^/\s@]+(?=@)                     # user:password in a URL
    | (?:client_secret|client_assertion|jwt_token|access_token|secret_id|password|private_key)
      ["']?\s*[=:]\s*["']?[^\s&"',;]+                     # a form field or a JSON member
    """
)


def redact(text: str) -> str:
    """`text` without what looks like a secret, and not longer than a log line should be."""
    redacted = _SECRET_VALUE.sub(_REDACTED, text)
    return redacted if len(redacted) <= _MAX_TEXT else redacted[:_MAX_TEXT] + "…"


class JsonFormatter(logging.Formatter):
    """One JSON object per record, with the record's ``extra`` fields."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.name == "asyncio":
            message = message.partition("\n")[0]  # what follows is a repr of the exception
        line: dict[str, object] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(message),
        }
        line.update((name, _plain(name, value)) for name, value in _extra(record).items() if name not in line)
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _told(record.exc_info[1])
        return json.dumps(line, separators=(",", ":"))


class LogHandler(logging.Handler):
    """Hands finished lines to a daemon thread; when too many wait, they are lost and counted in `lost`.

    Args:
        descriptor: Where the thread writes.

    """

    def __init__(self, descriptor: int = _STDERR) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lost = 0
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._write_on, name="json-logs", daemon=True)
        self._thread.start()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self.lost += 1
        except Exception:  # noqa: BLE001  # a log call must never fail; the record may hold anything
            self.lost += 1

    @override
    def close(self) -> None:
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            pass  # the thread is stuck in a write and ends with the process
        else:
            self._thread.join(_FLUSH_SECONDS)
        super().close()

    def _write_on(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                data = (line + "\n").encode()
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                self.lost += 1


def configure_logging(level: str) -> LogHandler:
    """Send all logs of the process as JSON lines to standard error, `level` and above.

    Args:
        level: A level's name, such as ``info``; libraries that would log URLs or headers stay at WARNING.

    Raises:
        ValueError: There is no such level.

    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError("The log level must be one of debug, info, warning, error, critical.")
    handler = LogHandler()
    root = logging.getLogger()
    for other in list(root.handlers):
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(number)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(capture=True)
    atexit.register(handler.close)
    return handler


class LogSink:
    """Logs the events that an operator should see; requests are the audit log's."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(LOGGER)

    def emit(self, event: Event) -> None:
        """See `app.ports.EventSink.emit`."""
        level, message = _told_as(event)
        if level and self._logger.isEnabledFor(level):
            self._logger.log(level, message, extra={"event": _fields(event)})


def _told_as(event: Event) -> tuple[int, str]:
    """Level and message; level 0 for what the audit log or the metrics tell better."""
    match event:
        case PolicyRefused():
            return logging.ERROR, "policy refused; the last good one stays in force"
        case PolicyLoaded():
            return logging.INFO, "policy in force"
        case TaskFailed():
            return logging.ERROR, "background task failed and is restarted"
        case RefreshFailed():
            return logging.WARNING, "refresh failed; the token that is still good goes on being served"
        case CacheRecordRefused():
            return logging.WARNING, "record in the shared cache refused"
        case CredentialPurged():
            return logging.INFO, "credential purged"
        case ExchangeFinished(outcome=outcome):
            return logging.DEBUG if outcome == "issued" else logging.WARNING, "exchange finished"
        case DependencyCalled():
            return logging.DEBUG, "dependency called"
        case _:
            return 0, ""


def _fields(event: Event) -> dict[str, object]:
    """An event's fields, with a key or a reference told as org and credential."""
    told: dict[str, object] = {}
    for name in event.__slots__:
        value = getattr(event, name)
        ref = value.ref if isinstance(value, TokenKey) else value
        if isinstance(ref, CredentialRef):
            told.update(org=ref.org, credential=ref.name)
        else:
            told[name] = value
    return told


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _plain(name: str, value: object) -> object:
    """`value` as JSON can have it, redacted by the field's name or by what it looks like."""
    if _SECRET_NAME.search(name):
        return _REDACTED
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(str(key), item) for key, item in value.items()}
    return redact(str(value))


def _told(error: BaseException) -> list[dict[str, object]]:
    """The exception and what led to it, outermost first: types, places, and the detail of our own errors."""
    chain: list[dict[str, object]] = []
    at: BaseException | None = error
    while at is not None and len(chain) < _MAX_CAUSES:
        frames = [
            f"{_short(frame.f_code.co_filename)}:{line} {frame.f_code.co_qualname}"
            for frame, line in traceback.walk_tb(at.__traceback__)
        ]
        told: dict[str, object] = {"type": type(at).__qualname__, "stack": frames[-_MAX_FRAMES:]}
        if isinstance(at, BrokerError | PolicyError):
            told["detail"] = redact(str(at))
        chain.append(told)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return chain


def _short(filename: str) -> str:
    """The last parts of a path: enough to find the place, without the machine's folders."""
    return "/".join(filename.rsplit("/", 3)[-3:])
