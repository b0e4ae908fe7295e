"""An OIDC issuer on loopback: real keys, real signatures, a real JWKS endpoint that can be made to misbehave."""

from __future__ import annotations

import base64
import functools
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms
from typing_extensions import override

AUDIENCE = "ims-token-broker"
SUBJECT = "system:serviceaccount:marketing:export"

Kind = Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_MAKING = threading.Lock()


def private_key(kind: str = "RS256", serial: int = 0, bits: int = 2048) -> Any:
    """A private key fit for `kind`; the same one for the same arguments, since RSA keys take long to make."""
    with _MAKING:  # replicas read the JWKS at once, in threads: without the lock each could get another key
        return _made_key(kind, serial, bits)


@functools.cache
def _made_key(kind: str, serial: int, bits: int) -> Any:
    match kind:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return rsa.generate_private_key(65537, bits)


@dataclass(frozen=True)
class SigningKey:
    """A key pair of the issuer.

    Args:
        kid: Its key id.
        kind: The algorithm it signs with.
        serial: Distinguishes keys of one kind.
        bits: Size of an RSA key.

    """

    kid: str = "key-1"
    kind: Kind = "RS256"
    serial: int = 0
    bits: int = 2048

    @property
    def private(self) -> Any:
        """The private key object."""
        return private_key("RSA" if self.kind[:2] in {"RS", "PS"} else self.kind, self.serial, self.bits)

    @property
    def jwk(self) -> dict[str, object]:
        """The public key as a JWK."""
        public = get_default_algorithms()[self.kind].to_jwk(self.private.public_key(), as_dict=True)
        public.pop("key_ops", None)
        return {**public, "kid": self.kid, "alg": self.kind, "use": "sig"}

    def sign(self, header: Mapping[str, object] | bytes, claims: Mapping[str, object] | bytes) -> str:
        """A JWT with exactly this header and payload; bytes are taken as they are."""
        parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
        signing_input = ".".join(base64url(part) for part in parts)
        signature = get_default_algorithms()[self.kind].sign(signing_input.encode(), self.private)
        return f"{signing_input}.{base64url(signature)}"


@dataclass
class JwksAnswer:
    """What the JWKS endpoint does. `body` None stands for the issuer's present keys."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False


class LoopbackServer:
    """An HTTP server on an ephemeral loopback port that counts requests. Also a trap for requests that must not happen.

    Args:
        tls: Serves https with this context, or None for http.

    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answer = JwksAnswer()
        self.requests: list[dict[str, str]] = []
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if tls is None else "https"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="loopback-server", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The address of its one resource."""
        return f"{self._scheme}://127.0.0.1:{self.port}/jwks"

    @property
    def count(self) -> int:
        """How many requests arrived."""
        return len(self.requests)

    def release(self) -> None:
        """End the hanging of requests that hang."""
        self._released.set()

    def close(self) -> None:
        """Stop listening. Requests that hang are let go."""
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def body(self) -> bytes:
        """What it answers by default."""
        return b"{}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class JwksHandler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append({name.lower(): value for name, value in self.headers.items()})
                answer = server.answer
                if answer.hangs:
                    server._released.wait(30)
                body = server.body() if answer.body is None else answer.body
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            @override
            def log_message(self, format: str, *args: object) -> None:  # the base class names it so
                return

            @override
            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    return  # The client went away; some tests mean it to.

        return JwksHandler


class LocalIssuer(LoopbackServer):
    """An issuer with its JWKS endpoint.

    Args:
        keys: Its keys; the first one signs.
        tls: See `LoopbackServer`.

    """

    def __init__(self, keys: tuple[SigningKey, ...] = (SigningKey(),), tls: ssl.SSLContext | None = None) -> None:
        self.keys = list(keys)
        super().__init__(tls)

    @property
    def name(self) -> str:
        """The value of ``iss``."""
        return f"https://issuer.test/{self.port}"

    @override
    def body(self) -> bytes:
        """The present JWK set."""
        return json.dumps({"keys": [key.jwk for key in self.keys]}).encode()

    def claims(self, now: float | None = None, **changes: object) -> dict[str, object]:
        """Claims of a good token at `now`, with `changes`; a change to ... takes a claim away."""
        issued_at = int(time.time() if now is None else now)
        good = {"iss": self.name, "aud": AUDIENCE, "sub": SUBJECT, "iat": issued_at, "exp": issued_at + 600}
        return {name: value for name, value in {**good, **changes}.items() if value is not ...}

    def token(self, now: float | None = None, *, key: SigningKey | None = None, **changes: object) -> str:
        """A signed token, with `changes` to its claims."""
        key = key or self.keys[0]
        return key.sign({"alg": key.kind, "kid": key.kid, "typ": "JWT"}, self.claims(now, **changes))


@contextmanager
def local_issuer(*keys: SigningKey, tls: ssl.SSLContext | None = None) -> Iterator[LocalIssuer]:
    """A running issuer, closed at the end."""
    issuer = LocalIssuer(keys or (SigningKey(),), tls)
    try:
        yield issuer
    finally:
        issuer.close()


@contextmanager
def loopback_server() -> Iterator[LoopbackServer]:
    """A running server, closed at the end."""
    server = LoopbackServer()
    try:
        yield server
    finally:
        server.close()
