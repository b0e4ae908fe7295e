"""``health``: is the broker of this container alive? For HEALTHCHECK and exec probes, which run every few seconds.

It therefore imports nothing that is slow: no settings, no HTTP client. Typer reads the few variables that it needs.
"""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from app.cli.failure import CommandError
from app.hosts import is_loopback
from app.process.ca_bundle import client_context
from app.process.regular_file import FileError

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what to ask if the broker listens on all addresses
_LONGEST_LINE = 1024
_A_TOKEN = "/token?org=000000000000000000000000@AdobeOrg"


def health(
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The broker's base URL. Default: the address in the BROKER_ variables."),
    ] = None,
    ready: Annotated[bool, typer.Option("--ready", help="Check /readyz instead of /livez.")] = False,
    expect_unauthenticated: Annotated[
        bool,
        typer.Option("--expect-unauthenticated", help="Request a token without a credential, and expect a 401."),
    ] = False,
    ca_file: Annotated[
        str | None, typer.Option("--ca-file", metavar="FILE", help="CA bundle for https. Default: the system's.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, max=60, help="Time limit of the whole check.")
    ] = 3.0,
    host: Annotated[str, typer.Option(envvar="BROKER_HOST", hidden=True, help="Same as for `serve`.")] = "127.0.0.1",
    port: Annotated[str, typer.Option(envvar="BROKER_PORT", hidden=True, help="Same as for `serve`.")] = "8080",
    tls_cert_file: Annotated[
        str | None, typer.Option(envvar="BROKER_TLS_CERT_FILE", hidden=True, help="Same as for `serve`.")
    ] = None,
) -> None:
    """Check that a running broker is alive (or ready, or refuses unknown callers). Exit status 0: yes; 1: no.

    The certificate of a broker on this machine is not verified: it names the service, not the loopback address, and
    nothing secret is sent. The certificate of any other host is verified, and so is every one if --ca-file is given.
    """
    base = url.rstrip("/") if url else _own_url(host, port, is_https=bool(tls_cert_file))
    path, right = (_A_TOKEN, 401) if expect_unauthenticated else ("/readyz" if ready else "/livez", 200)
    # An address from the broker's own variables is always one of this machine.
    status = _status(base, path, timeout, is_verified=url is not None, ca_file=ca_file)
    if status != right:
        raise CommandError(f"{base}{path} answers {status}.")
    typer.echo(f"{base}{path} answers {right}")


def _own_url(host: str, port: str, *, is_https: bool) -> str:
    address = _ANYWHERE.get(host, host)
    if port == "0":
        raise CommandError("BROKER_PORT is 0, a free port: give --url URL.")
    return f"{'https' if is_https else 'http'}://{f'[{address}]' if ':' in address else address}:{port}"


def _status(base: str, path: str, timeout: float, *, is_verified: bool, ca_file: str | None) -> int:
    host, port, is_https = _address(base)
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii", "replace")
    verified = ca_file is not None or (is_verified and not is_loopback(host))
    tls = _tls(ca_file, is_verified=verified) if is_https else None
    try:
        line = _first_line((host, port), request, time.monotonic() + timeout, tls)
    except TimeoutError:
        raise CommandError(f"{base} does not answer within {timeout:g} s.") from None
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "the address is malformed"
        raise CommandError(f"{base} cannot be reached: {reason.lower()}.") from None
    words = line.split(b" ", 2)
    if not words[0].startswith(b"HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        raise CommandError(f"{base} does not answer in HTTP.")
    return int(words[1])


def _address(base: str) -> tuple[str, int, bool]:
    try:
        parts = urlsplit(base)
        host, port, is_https = parts.hostname, parts.port, parts.scheme == "https"
    except ValueError:
        host = None
    else:
        if (
            parts.scheme in {"http", "https"}
            and host
            and base == f"{parts.scheme}://{parts.netloc}"
            and "@" not in parts.netloc
        ):
            return host, port or (443 if is_https else 80), is_https
    raise CommandError("The broker's URL must be a base URL such as http://127.0.0.1:8080; give --url URL.")


def _tls(ca_file: str | None, *, is_verified: bool) -> ssl.SSLContext:
    try:
        context = client_context(None if ca_file is None else Path(ca_file))
    except FileError as error:
        raise CommandError(f"--ca-file: {error}.") from None
    if not is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _first_line(address: tuple[str, int], request: bytes, end: float, tls: ssl.SSLContext | None) -> bytes:
    """Send a request and read the first line of its answer; each step may take the time that is left."""
    plain = socket.create_connection(address, _left(end))
    with plain, tls.wrap_socket(plain, server_hostname=address[0]) if tls else plain as sock:
        sock.settimeout(_left(end))
        sock.sendall(request)
        answer = b""
        while b"\r\n" not in answer and len(answer) < _LONGEST_LINE:
            sock.settimeout(_left(end))
            if not (piece := sock.recv(_LONGEST_LINE)):
                break
            answer += piece
    return answer.partition(b"\r\n")[0]


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
