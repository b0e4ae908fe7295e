"""``health``: which probe it calls, and how it reports a failure."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import health
from app.cli.program import app
from app.settings.settings import Settings

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def server(answer: bytes, asked: list[bytes], host: str = "127.0.0.1") -> Iterator[int]:
    """A server that answers one request, whatever it is; yields its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        sock.listen()

        def run() -> None:
            connection, _ = sock.accept()
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(answer)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield int(sock.getsockname()[1])
        thread.join(5)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::1"])
def test_the_settings_say_where_to_ask(host: str) -> None:
    """The variables of `serve` give the address, even a wildcard one; success is one line and exit code 0."""
    asked: list[bytes] = []
    local = "::1" if ":" in host else "127.0.0.1"
    with server(ANSWER, asked, local) as port:
        result = CliRunner().invoke(app, ["health"], env={"BROKER_HOST": host, "BROKER_PORT": str(port)})
    shown = f"[{local}]" if ":" in local else local
    assert (result.exit_code, result.output) == (0, f"http://{shown}:{port}/livez answers 200\n")
    assert asked[0].startswith(b"GET /livez HTTP/1.1\r\nHost: ")


def test_ready_calls_readyz() -> None:
    """--ready calls the other probe, and any answer but 200 is a failure."""
    asked: list[bytes] = []
    with server(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", asked) as port:
        result = CliRunner().invoke(app, ["health", "--ready", "--url", f"http://127.0.0.1:{port}/"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: http://127.0.0.1:{port}/readyz answers 503.\n"
    assert asked[0].startswith(b"GET /readyz ")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1\r\n", b"HTTP/1.1 OK\r\n", b"x" * 5000])
def test_an_answer_that_is_not_http_is_a_failure(answer: bytes) -> None:
    """Any other server at that port is not the broker."""
    with server(answer, []) as port:
        result = CliRunner().invoke(app, ["health", "--url", f"http://127.0.0.1:{port}"])
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)


@pytest.mark.parametrize(
    "url", ["http://", "ftp://h", "http://h/path", "http://u:canary@h", "h", "http://[::1", "http://h:x", "http://h?q"]
)
def test_a_malformed_url_is_refused(url: str) -> None:
    """A URL to which no path can be added is refused in one sentence that does not quote it."""
    result = CliRunner().invoke(app, ["health", "--url", url])
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "base URL" in result.stderr
    assert "canary" not in result.stderr


def test_port_0_needs_a_url() -> None:
    """With port 0 the broker's address is unknown, so the sentence says which option to give."""
    result = CliRunner().invoke(app, ["health"], env={"BROKER_PORT": "0"})
    assert (result.exit_code, "--url" in result.stderr) == (1, True)


def test_a_refused_connection_is_a_failure() -> None:
    """A refused connection is reported in one sentence."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result = CliRunner().invoke(app, ["health"], env={"BROKER_PORT": str(unused.getsockname()[1])})
    assert (result.exit_code, "cannot be reached: connection refused." in result.stderr) == (1, True)


def test_a_silent_server_times_out() -> None:
    """A server that accepts the connection and sends nothing is a failure after the timeout."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = CliRunner().invoke(app, ["health", "--url", url, "--timeout", "0.2"])
    assert (result.exit_code, result.stderr) == (1, f"Error: {url} does not answer within 0.2 s.\n")


def test_the_defaults_are_those_of_serve() -> None:
    """If a variable is not set, `health` uses the same default as `serve`."""
    names = ("url", "ready", "expect_unauthenticated", "ca_file", "timeout", "host", "port")
    defaults = dict(zip(names, health.health.__defaults__ or (), strict=False))
    fields = Settings.model_fields
    assert (defaults["host"], int(str(defaults["port"]))) == (fields["host"].default, fields["port"].default)


@pytest.mark.parametrize(("status", "code"), [(401, 0), (200, 1), (400, 1), (503, 1)])
def test_a_request_without_credentials_must_be_refused(status: int, code: int) -> None:
    """--expect-unauthenticated asks for a token without authentication, and any answer but 401 is a failure."""
    asked: list[bytes] = []
    with server(b"HTTP/1.1 %d X\r\n\r\n" % status, asked) as port:
        url = f"http://127.0.0.1:{port}"
        result = CliRunner().invoke(app, ["health", "--expect-unauthenticated", "--url", url])
    assert result.exit_code == code
    assert asked[0].startswith(b"GET /token?org=000000000000000000000000@AdobeOrg HTTP/1.1\r\n")
    assert b"authorization" not in asked[0].lower()


def test_an_unusable_ca_file_is_named() -> None:
    """A missing CA file is reported in one sentence."""
    result = CliRunner().invoke(app, ["health", "--url", "https://127.0.0.1:1", "--ca-file", "no-such-file"])
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: --ca-file: no-such-file cannot be read: no such file or directory.\n",
    )


def test_a_pipe_as_ca_bundle_is_refused_at_once(tmp_path: Path) -> None:
    """A named pipe without a writer as --ca-file is refused; opening it would wait longer than any timeout."""
    pipe = tmp_path / "ca.pem"
    os.mkfifo(pipe)
    result = CliRunner().invoke(app, ["health", "--url", "https://127.0.0.1:1", "--ca-file", str(pipe)])
    assert (result.exit_code, result.stderr) == (1, f"Error: --ca-file: {pipe} is a named pipe, not a regular file.\n")
