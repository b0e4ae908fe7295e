"""`Httpx2Auth` and `RequestsAuth` against an API that refuses tokens as Adobe does."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
import requests
from typing_extensions import override

from ims_token_broker_client import Broker, Httpx2Auth, RequestsAuth, Tokens
from ims_token_broker_client.fake_broker import FakeBroker
from tests.support.repository import ROOT

ORG = "0123456789ABCDEF01234567@AdobeOrg"


class Api:
    """An API of Adobe that has revoked one token. Every other request is answered with its own headers and body."""

    def __init__(self) -> None:
        self.url = ""
        self.revoked = ""
        self.error_code = "401013"
        self.requests: list[tuple[dict[str, str], bytes]] = []

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, object]]:
        """Status and document."""
        self.requests.append((headers, body))
        if headers.get("authorization") == f"Bearer {self.revoked}":
            return 401, {"error_code": self.error_code, "message": "Oauth token is not valid"}
        return 200, {"headers": headers, "body": body.decode()}


@pytest.fixture
def api() -> Iterator[Api]:
    """It runs for one test."""
    state = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            chunked = self.headers.get("Transfer-Encoding") == "chunked"
            length = int(self.headers.get("Content-Length") or 0)
            body = self._chunks() if chunked else self.rfile.read(length)
            status, document = state.answer({name.lower(): value for name, value in self.headers.items()}, body)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        @override
        def log_message(self, format: str, *args: object) -> None:  # named by the standard library
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}/imp/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def tokens(fake_broker: FakeBroker) -> Tokens:
    """Of one org."""
    fake_broker.sandbox_name = "prod"
    return Broker(fake_broker.url, api_key=fake_broker.api_key, timeout=5.0).tokens(ORG)


Post = Callable[[Api, Tokens], tuple[int, dict[str, object]]]


def with_httpx2(api: Api, tokens: Tokens) -> tuple[int, dict[str, object]]:
    """A request with `httpx2.Client`."""
    with httpx2.Client(auth=Httpx2Auth(tokens), trust_env=False) as client:
        answer = client.post(api.url, content=b"spring")
        return answer.status_code, answer.json()


def with_requests(api: Api, tokens: Tokens) -> tuple[int, dict[str, object]]:
    """A request with `requests`, with a body that is a file."""
    answer = requests.post(api.url, data=io.BytesIO(b"spring"), auth=RequestsAuth(tokens), timeout=10)
    return answer.status_code, answer.json()


BOTH = pytest.mark.parametrize("post", [with_httpx2, with_requests])


@BOTH
def test_a_request_has_adobes_headers(api: Api, tokens: Tokens, post: Post) -> None:
    """A request carries the token, the client id, the org and the sandbox."""
    _, document = post(api, tokens)
    headers = document["headers"]
    assert isinstance(headers, dict)
    expected = {name.lower(): value for name, value in tokens.get().headers().items()}
    assert {name: headers.get(name) for name in expected} == expected


@BOTH
def test_a_request_is_repeated_with_another_token(
    api: Api, tokens: Tokens, fake_broker: FakeBroker, post: Post
) -> None:
    """After 401013, the token is reported and the request sent again with the new token and the same body."""
    token = tokens.get()
    api.revoked = token.value
    status, document = post(api, tokens)
    assert (status, document["body"]) == (200, "spring")
    assert [body for _, body in api.requests] == [b"spring", b"spring"]
    assert fake_broker.reports == [token.sha256]


async def test_an_async_request_is_repeated_with_another_token(
    api: Api, tokens: Tokens, fake_broker: FakeBroker
) -> None:
    """`AsyncClient` reports and repeats, too."""
    api.revoked = tokens.get().value
    async with httpx2.AsyncClient(auth=Httpx2Auth(tokens), trust_env=False) as client:
        answer = await client.post(api.url, content=b"spring")
    assert (answer.status_code, answer.json()["body"]) == (200, "spring")
    assert len(fake_broker.reports) == 1


@BOTH
def test_another_error_is_not_reported(api: Api, tokens: Tokens, fake_broker: FakeBroker, post: Post) -> None:
    """A 401 with another code goes to the application, after one request and without a report."""
    api.revoked, api.error_code = tokens.get().value, "401000"
    assert post(api, tokens)[0] == 401
    assert (len(api.requests), fake_broker.reports) == (1, [])


@BOTH
def test_a_request_is_repeated_once_only(api: Api, tokens: Tokens, fake_broker: FakeBroker, post: Post) -> None:
    """If the broker has no other token, the application gets Adobe's 401 after one request."""
    api.revoked = tokens.get().value
    fake_broker.failure = (502, "credential_rejected")
    assert post(api, tokens)[0] == 401
    assert len(api.requests) == 1


def test_a_stream_is_not_repeated(api: Api, tokens: Tokens, fake_broker: FakeBroker) -> None:
    """A request whose body is a generator is not sent again, but the next request has the new token."""

    def with_httpx2_stream() -> int:
        with httpx2.Client(auth=Httpx2Auth(tokens), trust_env=False) as client:
            return client.post(api.url, content=iter([b"spring"])).status_code

    def with_requests_stream() -> int:
        return requests.post(api.url, data=iter([b"spring"]), auth=RequestsAuth(tokens), timeout=10).status_code

    for number, send in enumerate((with_httpx2_stream, with_requests_stream), 1):
        api.revoked = tokens.get().value
        assert (send(), send()) == (401, 200)
        assert len(fake_broker.reports) == number


@pytest.mark.parametrize("missing", ["httpx2", "requests"])
def test_only_the_library_in_use_is_imported(missing: str) -> None:
    """The package and the other class can be used if one of the two libraries is not installed."""
    used = {"httpx2": "RequestsAuth", "requests": "Httpx2Auth"}[missing]
    program = f"import sys; sys.modules[{missing!r}] = None; from ims_token_broker_client import Broker, {used}"
    source = str(ROOT / "clients" / "python" / "src")
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": source}, check=True)
