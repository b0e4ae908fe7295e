"""JSON lines on standard error. A thread writes them, so that a stuck reader stalls no request.

An exception is logged by its type and by the names and lines of its stack: its text and its locals may hold a secret.
"""

from __future__ import annotations

import atexit
import json
import logging
import queue
import threading
import time
import traceback

from typing_extensions import override

from app.adapters.json_logs.redaction import plain, redact
from app.adapters.json_logs.uncaught import log_uncaught
from app.domain.errors import BrokerError
from app.domain.plain_document import PolicyError
from app.process.correlation import REQUEST_ID, TRACE_POINT
from app.process.write_lock import WriteLock

MAX_WAITING_LOG_LINES = 10_000
"""Lines that may wait to be written; further ones are lost and counted."""

_STDERR = 2
_FLUSH_SECONDS = 1.0
_MAX_CAUSES = 5
_MAX_FRAMES = 40
_CHATTY = (
    *("httpx2", "httpcore2", "httpx", "httpcore", "urllib3", "requests", "hvac", "redis", "botocore"),
    *("asyncio", "uvicorn"),
)
"""Libraries that log URLs, headers or objects below WARNING."""


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
        line.update(_correlation())
        line.update((name, plain(name, value)) for name, value in _extra(record).items() if name not in line)
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _exceptions(record.exc_info[1])
        return json.dumps(line, separators=(",", ":"))


class LogHandler(logging.Handler):
    """Hands finished lines to a daemon thread; when too many wait, they are lost and counted in `lost`.

    Args:
        descriptor: The file descriptor that the thread writes to.
        lock: The descriptor of a `WriteLock`, if other processes write there, too.

    """

    def __init__(self, descriptor: int = _STDERR, lock: int | None = None) -> None:
        super().__init__()
        self._lock = WriteLock(lock)
        self.setFormatter(JsonFormatter())
        self.lost = 0
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_WAITING_LOG_LINES)
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
                with self._lock.held():
                    self._write(line)
            except OSError:
                self.lost += 1

    def _write(self, line: str) -> None:
        # After a line that was cut short, the next one must not be appended to the partial line.
        self._lock.write(self._descriptor, ("\n" * self._lock.is_cut + line + "\n").encode())


def configure_logging(level: str, lock: int | None = None) -> LogHandler:
    """Send all logs of the process as JSON lines to standard error, `level` and above.

    Args:
        level: A level's name, such as ``info``; libraries that would log URLs or headers stay at WARNING.
        lock: As of `LogHandler`.

    Raises:
        ValueError: The level does not exist.

    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError("The log level must be one of debug, info, warning, error, critical.")
    handler = LogHandler(lock=lock)
    root = logging.getLogger()
    for other in list(root.handlers):
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(number)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(capture=True)
    log_uncaught()
    atexit.register(handler.close)
    return handler


def lines_lost() -> int:
    """Lines that the log of this process lost since its start."""
    return sum(handler.lost for handler in logging.getLogger().handlers if isinstance(handler, LogHandler))


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _correlation() -> dict[str, object]:
    """Request and trace ids of the request being served, if any."""
    ids: dict[str, object] = {}
    request_id, point = REQUEST_ID.get(), TRACE_POINT.get()
    if request_id is not None:
        ids["request_id"] = request_id
    if point is not None:
        ids.update(trace_id=point.trace_id, span_id=point.span_id)
    return ids


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _exceptions(error: BaseException) -> list[dict[str, object]]:
    """The exception and what led to it, outermost first: types, places, and the detail of our own errors."""
    chain: list[dict[str, object]] = []
    at: BaseException | None = error
    while at is not None and len(chain) < _MAX_CAUSES:
        frames = [
            f"{_short(frame.f_code.co_filename)}:{line} {frame.f_code.co_qualname}"
            for frame, line in traceback.walk_tb(at.__traceback__)
        ]
        entry: dict[str, object] = {"type": type(at).__qualname__, "stack": frames[-_MAX_FRAMES:]}
        if isinstance(at, BrokerError | PolicyError):
            entry["detail"] = redact(str(at))
        chain.append(entry)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return chain


def _short(filename: str) -> str:
    """The last parts of a path: enough to find the place, without the machine's folders."""
    return "/".join(filename.rsplit("/", 3)[-3:])
