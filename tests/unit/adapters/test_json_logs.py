"""The log: JSON lines that say what happened and contain no secret."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import re
import select
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from typing_extensions import override

from app.adapters.event_stream import EventStream
from app.adapters.json_logs import LOGGER, LogHandler, LogSink, configure_logging
from app.adapters.json_logs.json_lines import MAX_WAITING_LOG_LINES, JsonFormatter
from app.domain import events
from app.domain.decision import Decision
from app.domain.dependency_errors import OverloadedError
from app.domain.errors import BrokerError
from app.domain.plain_document import PolicyError
from app.domain.refusal_reason import RefusalReason
from app.process.correlation import REQUEST_ID, TRACE_POINT, TracePoint
from tests.factories import KEY, ORG, REF
from tests.support.recorded_events import RecordedEvents
from tests.support.waiting import until

REDACTED = "[redacted]"
CHATTY = ["httpx2", "httpcore2.http11", "urllib3.connectionpool", "requests", "hvac", "redis", "asyncio", "uvicorn"]
NAMED = {"org": ORG, "credential": "default"}


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    """Restore what `configure_logging` changes for the whole process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    loggers = [logging.getLogger(name.partition(".")[0]) for name in (*CHATTY, "httpx", "httpcore")]
    levels = [logger.level for logger in loggers]
    hooks = sys.unraisablehook, threading.excepthook
    yield
    sys.unraisablehook, threading.excepthook = hooks
    for handler in set(root.handlers) - set(handlers):
        atexit.unregister(handler.close)
        handler.close()
    root.handlers[:] = handlers
    for logger, before in zip([root, *loggers], [level, *levels], strict=True):
        logger.setLevel(before)
    logging.captureWarnings(capture=False)


def record(
    message: str, *args: object, name: str = "app", error: Exception | None = None, **extra: object
) -> logging.LogRecord:
    """A record of level INFO with ``extra`` fields."""
    info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord(name, logging.INFO, "file.py", 1, message, args, info)
    vars(made).update(created=1_900_000_000.25, msecs=250.0, **extra)
    return made


def logged(message: str = "text", *args: object, **changes: Any) -> dict[str, Any]:
    """The line of a record, decoded."""
    line = JsonFormatter().format(record(message, *args, **changes))
    assert line.isascii()
    assert line.isprintable()
    decoded: dict[str, Any] = json.loads(line)
    return decoded


def test_a_line_has_time_level_logger_message_and_extra_fields() -> None:
    """A record is one JSON object with its extra fields; a value without a JSON type is written as text."""
    assert logged(
        "%d of\n%s", 1, "two", name="app.x", seconds=0.5, event={"b": None, "c": True, "d": float("inf")}
    ) == {
        "time": "2030-03-17T17:46:40.250Z",
        "level": "info",
        "logger": "app.x",
        "message": "1 of\ntwo",
        "seconds": 0.5,
        "event": {"b": None, "c": True, "d": "inf"},
    }


def test_a_line_names_its_request_and_trace() -> None:
    """A line about a request has its id and, if it is traced, the ids of trace and span; other lines have none."""
    assert not {"request_id", "trace_id", "span_id"} & set(logged())

    def within_a_request() -> dict[str, Any]:
        REQUEST_ID.set("request-7")
        untraced = logged()
        TRACE_POINT.set(TracePoint(0xAB, 0xCD, sampled=False))
        return {**logged(), "untraced": untraced.get("trace_id")}

    line = copy_context().run(within_a_request)
    assert (line["request_id"], line["untraced"]) == ("request-7", None)
    assert (line["trace_id"], line["span_id"]) == (f"{0xAB:032x}", f"{0xCD:016x}")


def test_an_extra_field_cannot_forge_a_line() -> None:
    """An extra field with the name of a standard one does not replace it."""
    assert logged(time="never", level="none", logger="another") == logged()


@pytest.mark.parametrize("secret", [
    "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----",
    r"-----BEGIN RSA PRIVATE KEY-----\ncanary\n-----END RSA PRIVATE KEY-----",
    "eyJhbGciOiJub25lIn0.canary.c2ln", "eyJhbGcanary", "eyJlbmMi.canary..canary.canary",
    "hvs.canary-12345_A", "hvb.canary123", "s.canary0123456789abcdef01",
    "itb_journey_canary-0123456789_A", "p8e-canary_A-1", "Bearer canary-1~+/=", "basic Y2canary==",
    "client_secret=canary-%2F", "client_assertion=canary", "jwt_token=canary", "access_token=canary",
    "secret_id=canary", "PASSWORD = canary", '"client_secret": "canary"', '"private_key":"canary"',
    "'password': 'canary'",
])  # fmt: skip
def test_anything_that_looks_like_a_secret_is_redacted(secret: str) -> None:
    """A secret is redacted in a message and in a field, and the text around it is kept."""
    for text in (f"before {secret} after", f'{{"x":{secret}, "after": 1}}', f"before {secret}"):
        line = logged(text, field=text, event={"field": text})
        assert "canary" not in json.dumps(line)
        assert line["message"] == line["field"]
        assert REDACTED in str(line["field"])
        assert ("after" in str(line["field"])) == ("after" in text)


@pytest.mark.parametrize("url", ["redis://:canary@h:6379/0", "rediss://user:canary@h", "https://user:canary@h/p?q=1"])
def test_the_password_of_a_url_is_redacted(url: str) -> None:
    """Scheme and host of a URL with a password are kept."""
    assert logged(url)["message"] == f"{url.partition(':')[0]}:{REDACTED}@{url.rpartition('@')[2]}"


@pytest.mark.parametrize("text", [
    '{"password": "correct canary"}', r'{"password": "a\"canary"}', r'"{\"password\": \"canary\"}"',
    "{'password': b'canary'}", '{"client_secrets": ["a", "canary"]}', "private_key_passphrase=canary",
])  # fmt: skip
def test_a_secret_member_is_redacted_to_its_end(text: str) -> None:
    """A secret in a JSON document is redacted from its first character to its last, however it is quoted."""
    assert "canary" not in str(logged(text)["message"])


@pytest.mark.parametrize("name", [
    "password", "db_passwd", "private_key_passphrase", "client_secrets", "vault_token", "Authorization", "privateKey",
    "private_key", "api_key", "APIKEY", "client_assertion",
])  # fmt: skip
def test_a_field_is_redacted_by_its_name(name: str) -> None:
    """A field whose name says that it is secret is redacted, whatever its value, also in a mapping."""
    for value in ("canary", ["canary"], {"x": "canary"}, 7):
        extra: dict[str, Any] = {name: value}
        line = logged(request=extra, **extra)
        assert line == {**logged(), name: REDACTED, "request": {name: REDACTED}}


def test_a_field_in_a_list_is_redacted_by_its_name() -> None:
    """Fields of a mapping in a list are redacted, too."""
    assert logged(several=[{"vault_token": "canary"}])["several"] == [{"vault_token": REDACTED}]


@pytest.mark.parametrize("name", ["token_sha256", "token_type", "api_key_sha256", "credential", "key_id"])
def test_a_harmless_field_is_logged(name: str) -> None:
    """The hash of a secret, and fields that are merely related to one, are logged."""
    assert logged(event={name: "0123abcd"})["event"] == {name: "0123abcd"}


def test_a_text_that_is_too_long_is_cut() -> None:
    """A text is cut to 8192 characters, after its secrets were redacted."""
    assert [logged("x" * length)["message"] for length in (8192, 8193)] == ["x" * 8192, "x" * 8192 + "…"]
    assert logged("x" * 8179 + " Bearer canary-of-a-token")["message"] == "x" * 8179 + f" {REDACTED}"


@pytest.mark.parametrize("start", ["-----BEGIN PRIVATE KEY-----\n", "-----BEGIN EC PRIVATE KEY-----", "eyJhbGciOi.J"])
def test_a_truncated_secret_is_redacted(start: str) -> None:
    """The beginning of a key or a token is redacted like the whole."""
    assert logged(f"before {start}canary")["message"] == f"before {REDACTED}"


def fail(error: Exception, cause: Exception | None, depth: int) -> None:
    """Raise `error` because of `cause`, some frames down, with a secret in a local variable."""
    local = f"canary {depth}"
    if depth:
        fail(error, cause, depth - 1)
    error.__cause__, error.__suppress_context__ = cause, cause is not None
    raise error if local else cause or error


def exceptions_logged(error: Exception, cause: Exception | None = None, depth: int = 0) -> list[dict[str, Any]]:
    """The exceptions in the line about `error`, raised because of `cause`; the line contains no canary."""
    with pytest.raises(type(error)):
        fail(error, cause, depth)
    line = logged(error=error)
    assert "canary" not in json.dumps(line)
    chain: list[dict[str, Any]] = line["exception"]
    return chain


def test_an_exception_is_logged_with_type_and_stack_only() -> None:
    """Neither the text of an exception nor a local variable is logged; each frame is a file, a line and a name."""
    (only,) = exceptions_logged(ValueError("canary"), depth=1)
    assert only.keys() == {"type", "stack"}
    assert only["type"] == "ValueError"
    place = r"unit/adapters/test_json_logs\.py:\d+ "
    assert [re.sub(place, "", frame) for frame in only["stack"]] == ["exceptions_logged", "fail", "fail"]


def test_the_cause_of_an_exception_is_logged() -> None:
    """The cause or, without one, the context of an exception is logged after it, unless it was suppressed."""
    handled, hidden = RuntimeError("canary"), OSError("canary")
    handled.__context__, hidden.__context__, hidden.__suppress_context__ = KeyError("canary"), KeyError("canary"), True
    for cause, types in ((handled, ["ValueError", "RuntimeError", "KeyError"]), (hidden, ["ValueError", "OSError"])):
        assert [one["type"] for one in exceptions_logged(ValueError("canary"), cause)] == types


def test_a_long_chain_of_exceptions_is_cut() -> None:
    """At most five exceptions, with the forty innermost frames of each, are logged, even if the causes are circular."""
    error, cause = ValueError("canary"), RuntimeError("canary")
    cause.__cause__ = error
    chain = exceptions_logged(error, cause, depth=60)
    assert [one["type"] for one in chain] == ["ValueError", "RuntimeError"] * 2 + ["ValueError"]
    assert [frame.partition(" ")[2] for frame in chain[0]["stack"]] == ["fail"] * 40


@pytest.mark.parametrize(("error", "detail"), [
    (OverloadedError("Too much waits."), "Too much waits."),
    (PolicyError("callers[0]", "must be a mapping"), "callers[0]: must be a mapping"),
    (BrokerError("It said Bearer canary-123"), f"It said {REDACTED}"),
])  # fmt: skip
def test_the_detail_of_our_own_errors_is_logged(error: Exception, detail: str) -> None:
    """The text of our own errors is written for people, so it is logged, but still redacted."""
    assert exceptions_logged(error)[0]["detail"] == detail


def test_the_repr_in_a_message_of_asyncio_is_omitted() -> None:
    """A message of asyncio is logged up to the repr of the exception that it contains."""
    message = "Task exception was never retrieved\nfuture: <Task exception=ValueError('canary')>"
    assert logged(message, name="asyncio")["message"] == "Task exception was never retrieved"


def test_lines_that_cannot_be_written_are_lost_and_counted() -> None:
    """A log call never fails: if a record cannot be formatted, or the descriptor is closed, the line is lost."""
    reader, writer = os.pipe()
    handler = LogHandler(writer)
    handler.handle(record("%d %d", 1))
    assert handler.lost == 1
    os.close(reader)
    handler.handle(record("text"))
    handler.close()
    os.close(writer)
    assert handler.lost == 2


def test_a_full_queue_loses_and_counts() -> None:
    """If no one reads, log calls do not block; lines beyond the queue are lost and counted, others keep their order."""
    reader, writer = os.pipe()
    handler = LogHandler(writer)
    for number in range(MAX_WAITING_LOG_LINES + 3000):
        handler.handle(record("%d", number))
    assert 0 < handler.lost < 3000
    expected = MAX_WAITING_LOG_LINES + 3000 - handler.lost
    with os.fdopen(reader) as lines:
        numbers = [int(json.loads(next(lines))["message"]) for _ in range(expected)]
    handler.close()
    os.close(writer)
    assert numbers == sorted(set(numbers))


def test_a_non_blocking_standard_error_loses_nothing() -> None:
    """If the descriptor is non-blocking, the log waits for room instead of truncating lines."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handler = LogHandler(writer)
    for number in range(3000):
        handler.handle(record("%d", number))
    asyncio.run(until(lambda: not select.select([], [writer], [], 0)[1]))
    with ThreadPoolExecutor() as pool, os.fdopen(reader) as lines:
        content = pool.submit(lines.read)
        handler.close()
        os.close(writer)
        numbers = [int(json.loads(line)["message"]) for line in content.result(10).splitlines()]
    assert numbers == list(range(3000))


def stderr_of(level: str, capfd: pytest.CaptureFixture[str], log: Callable[[], object]) -> list[dict[str, Any]]:
    """The output of `log` on standard error, with logging configured at `level`."""
    handler = configure_logging(level)
    log()
    handler.close()
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


@pytest.mark.parametrize("name", CHATTY)
def test_a_chatty_library_stays_at_warning(
    name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that would log URLs or headers is logged from WARNING up, even if the log is at DEBUG."""
    # Servers of other tests may have disabled its logger.
    monkeypatch.setattr(logging.getLogger(name), "propagate", True)

    def log() -> None:
        for logger in (LOGGER, name):
            for level in ("debug", "info", "warning"):
                getattr(logging.getLogger(logger), level)("text")

    said = [(line["logger"], line["level"]) for line in stderr_of("debug", capfd, log)]
    assert said == [(LOGGER, "debug"), (LOGGER, "info"), (LOGGER, "warning"), (name, "warning")]
    assert [line["logger"] for line in stderr_of("ERROR", capfd, log)] == []


@pytest.mark.filterwarnings("always")
def test_warnings_are_logged_once(capfd: pytest.CaptureFixture[str]) -> None:
    """Python's warnings are lines like all others, and no other handler prints a second, plain one."""
    logging.getLogger().addHandler(logging.StreamHandler(sys.__stderr__))
    lines = stderr_of("INFO", capfd, lambda: warnings.warn("look out", UserWarning, stacklevel=1))
    assert [line["logger"] for line in lines] == ["py.warnings"]


@pytest.mark.parametrize("level", ["", "loud", "10"])
def test_a_level_has_a_name(level: str) -> None:
    """A level that Python does not have is an error that does not repeat it."""
    with pytest.raises(ValueError, match=r"^The log level must be one of debug, info, warning, error, critical\.$"):
        configure_logging(level)


@pytest.mark.parametrize(("event", "level", "fields"), [
    (events.ServerCertificateRefused(1.0, "key: no"), "error", {"at": 1.0, "reason": "key: no"}),
    (events.ServerCertificateLoaded(1.0, 2.0), "info", {"at": 1.0, "not_after": 2.0}),
    (events.PolicyRefused(1.0, "version: must be 1"), "error", {"at": 1.0, "reason": "version: must be 1"}),
    (events.PolicyLoaded(1.0, "0123", ("callers[0].allow: allows nothing to one",)), "info",
     {"at": 1.0, "version": "0123", "notes": ["callers[0].allow: allows nothing to one"]}),
    (events.TaskFailed("purge-listener", "KeyError"), "error", {"task": "purge-listener", "error": "KeyError"}),
    (events.RefreshFailed(REF, "ims_unavailable", "down"), "warning",
     {**NAMED, "code": "ims_unavailable", "detail": "down"}),
    (events.MintFailed(REF, "ims_unavailable", "down"), "warning",
     {**NAMED, "code": "ims_unavailable", "detail": "down"}),
    (events.PurgesUnpublished(3), "error", {"credentials": 3}),
    (events.CacheRecordRefused(KEY, "integrity"), "warning", {**NAMED, "reason": "integrity"}),
    (events.CredentialPurged(1.0, REF, 4, "local"), "info", {"at": 1.0, **NAMED, "epoch": 4, "origin": "local"}),
    (events.ExchangeFinished(REF, "jwt", "issued", 0.5), "debug",
     {**NAMED, "kind": "jwt", "outcome": "issued", "seconds": 0.5, "ims_error": None, "debug_id": None}),
    (events.ExchangeFinished(REF, "jwt", "credential_rejected", 0.5, "invalid_client", "debug-1"), "warning",
     {**NAMED, "kind": "jwt", "outcome": "credential_rejected", "seconds": 0.5, "ims_error": "invalid_client",
      "debug_id": "debug-1"}),
    (events.DependencyCalled("redis", "read", "ok", 0.5), "debug",
     {"dependency": "redis", "operation": "read", "outcome": "ok", "seconds": 0.5}),
    (events.DependencyCalled("redis", "read", "loading", 0.5, "Redis is still loading."), "warning",
     {"dependency": "redis", "operation": "read", "outcome": "loading", "seconds": 0.5,
      "reason": "Redis is still loading."}),
    (events.DependencyChecked("redis", ready=True), "info", {"dependency": "redis", "ready": True}),
    (events.DependencyChecked("vault", ready=False, reason="Vault is sealed."), "warning",
     {"dependency": "vault", "ready": False, "reason": "Vault is sealed."}),
    (events.RequestDecided(1.0, "r", Decision("/token", "vend", "vended")), None, {}),
    (events.CacheLookedUp("memory", "hit"), None, {}),
    (events.CertificateSeen(REF, 1.0), None, {}),
], ids=lambda value: type(value).__name__ if isinstance(value, events.Event) else "")  # fmt: skip
def test_an_event_is_logged_at_its_level(
    event: events.Event, level: str | None, fields: dict[str, object], capfd: pytest.CaptureFixture[str]
) -> None:
    """An event for operators is one line with all its fields, at a level that reflects its importance."""
    lines = stderr_of("DEBUG", capfd, lambda: LogSink().emit(event))
    assert [(line["logger"], line["level"], line["event"]) for line in lines] == (
        [] if level is None else [(LOGGER, level, fields)]
    )
    assert all(line["message"] and "{" not in line["message"] for line in lines)


def test_a_listener_can_leave_out_requests() -> None:
    """It gets every other event, and the other listeners get requests, too."""
    stream, of_all, of_others = EventStream(), RecordedEvents(), RecordedEvents()
    stream.add(of_all)
    stream.add_without_requests(of_others)
    request = events.RequestDecided(1.0, "r", Decision("/token", "vend", "vended"))
    refused = events.PolicyRefused(1.0, "bad")
    for event in (request, refused):
        stream.emit(event)
    stream.emit_granted([request, request])
    assert of_all.all == [request, refused, request, request]
    assert of_others.all == [refused]


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(capfd: pytest.CaptureFixture[str]) -> None:
    """A dependency's first failure is WARNING, the first success after it INFO, and everything in between DEBUG."""

    def log() -> None:
        sink = LogSink()
        outcomes = ["ok", "timeout", "skipped", "skipped", "cancelled", "ok", "ok", "credential_not_found"]
        for dependency in ("redis", "ims"):
            for outcome in outcomes:
                sink.emit(events.DependencyCalled(dependency, "read", outcome, 0.1))

    said = [(line["level"], line["event"]["outcome"]) for line in stderr_of("INFO", capfd, log)]
    assert said == [("warning", "timeout"), ("info", "ok")]


def test_an_uncaught_exception_is_logged_without_its_text(capfd: pytest.CaptureFixture[str]) -> None:
    """An exception that ends a thread or is raised by a finalizer is one line with type and stack, without text."""

    class Going:
        def __del__(self) -> None:
            raise ValueError("hvs.secret")

        @override
        def __repr__(self) -> str:
            return "hvs.secret"

    def fail() -> None:
        raise KeyError("hvs.secret")

    def log() -> None:
        ended = threading.Thread(target=fail)
        ended.start()
        ended.join()
        Going()

    first, second = stderr_of("info", capfd, log)
    assert [line["exception"][0]["type"] for line in (first, second)] == ["KeyError", "ValueError"]
    assert "fail" in first["exception"][0]["stack"][-1]
    assert "hvs.secret" not in json.dumps([first, second])


def test_a_flood_of_refusals_is_a_few_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """Per minute and reason, ten refusals are logged, and the next minute says how many were left out."""

    def log() -> None:
        sink = LogSink()
        for at in (*range(59), 60):
            for _ in range(20):
                sink.emit(events.CallerRefused(float(at), "/token", RefusalReason.SIGNATURE))

    lines = [line["event"] for line in stderr_of("INFO", capfd, log)]
    assert len(lines) == 20
    assert lines[0] == {"at": 0.0, "endpoint": "/token", "reason": "signature", "left_out": 0}
    assert [line["left_out"] for line in lines[9:12]] == [0, 59 * 20 - 10, 0]


def test_a_jwt_of_two_callers_is_logged_with_both(capfd: pytest.CaptureFixture[str]) -> None:
    """The operator sees which entries of the policy to make disjoint."""
    refused = events.CallerRefused(1.0, "/token", RefusalReason.CALLER_AMBIGUOUS, "https://i.test", "s", ("a", "b"))
    (line,) = stderr_of("INFO", capfd, lambda: LogSink().emit(refused))
    assert line["event"]["callers"] == ["a", "b"]


def test_forged_tokens_do_not_hide_the_refusals_of_signed_ones(capfd: pytest.CaptureFixture[str]) -> None:
    """A signed JWT that is refused is logged after a flood of others with the same reason; each subject once."""

    def log() -> None:
        sink = LogSink()
        for _ in range(100):
            sink.emit(events.CallerRefused(1.0, "/token", RefusalReason.AUDIENCE))
        for subject in ("export", "export", "import"):
            sink.emit(events.CallerRefused(1.0, "/token", RefusalReason.AUDIENCE, "https://issuer.test", subject))

    lines = [line["event"] for line in stderr_of("INFO", capfd, log)]
    assert [(line["issuer"], line["subject"]) for line in lines[10:]] == [
        ("https://issuer.test", "export"),
        ("https://issuer.test", "import"),
    ]
