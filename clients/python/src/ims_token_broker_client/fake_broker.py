"""A broker for tests of applications: answers on a loopback port, and can be told to fail."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class FakeBroker:
    """A broker that gives made-up tokens. Change its attributes at any time.

    Attributes:
        api_key: The API key that it accepts.
        client_id: The client id of its tokens.
        sandbox_name: The ``x-sandbox-name`` of ``/headers``, if any.
        expires_in: Seconds that are left of its tokens.
        failure: Status and code of the answer to every request, or None to answer normally.
        reports: The ``token_sha256`` of each report.
        requests: How many requests it had.

    """

    def __init__(self) -> None:
        self.api_key = f"itb_fake_{secrets.token_hex(8)}"
        self.client_id = "fake-client"
        self.sandbox_name: str | None = None
        self.expires_in = 3600
        self.failure: tuple[int, str] | None = None
        self.reports: list[str] = []
        self.requests = 0
        self.url = ""
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()

    def token(self, org: str) -> str:
        """The current token of an org."""
        with self._lock:
            return self._tokens.setdefault(org, _new_token())

    def answer(
        self, method: str, target: str, authorization: str | None, body: bytes
    ) -> tuple[int, dict[str, str], Mapping[str, object]]:
        """Status, headers and document of the answer to a request."""
        self.requests += 1
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        org, path = query.get("org", ""), parts.path
        if self.failure is not None:
            return _problem(*self.failure)
        if authorization != f"Bearer {self.api_key}":
            return _problem(401, "unauthenticated")
        if (method, path) == ("POST", "/token/report"):
            self._replace(org, str(json.loads(body)["token_sha256"]))
        elif path == "/headers":
            return 200, {} if self.sandbox_name is None else {"x-sandbox-name": self.sandbox_name}, {}
        elif (method, path) != ("GET", "/token"):
            return _problem(404, "not_found")
        described = {"client_id": self.client_id, "org_id": org, "credential": query.get("credential", "default")}
        token = {"access_token": self.token(org), "token_type": "Bearer", "expires_in": self.expires_in}
        return 200, {}, {**token, **described, "scope": query.get("scope", "openid"), "generation": "1"}

    def _replace(self, org: str, sha256: str) -> None:
        self.reports.append(sha256)
        with self._lock:
            if hashlib.sha256(self._tokens.get(org, "").encode()).hexdigest() == sha256:
                self._tokens[org] = _new_token()


@contextlib.contextmanager
def running_fake_broker() -> Iterator[FakeBroker]:
    """A fake broker for as long as the context lasts."""
    broker = FakeBroker()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer, whatever the method."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, document = broker.answer(self.command, self.path, self.headers.get("Authorization"), body)
            content = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "X-Request-Id": "fake", "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815  # named by the standard library

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # named by the standard library
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        broker.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield broker
        finally:
            server.shutdown()
            thread.join()


def _problem(status: int, code: str) -> tuple[int, dict[str, str], Mapping[str, object]]:
    return status, {}, {"status": status, "code": code, "title": code, "retryable": status in {429, 503}}


def _new_token() -> str:
    return f"fake.{secrets.token_urlsafe(24)}.token"
