"""How many Python functions, in how many files of ``app/``, one request enters.

    python -m benchmarks.traced_calls [--names]

A broker runs in this process, on loopback; the IMS sandbox and the client, which sends real HTTP, have threads of their
own. Only the thread of the broker's event loop is traced (``sys.setprofile``), and only functions below ``app/``. The
counts do not depend on the machine's speed, so two commits can be compared on a busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.parse import urlencode

from app.bootstrap.broker import assembled
from app.cli.demo_caller import CALLER, demo_api_key
from app.cli.demo_tenants import DEMO_ORGS, JWT_ORG, OAUTH_ORG, demo_tenants
from app.cli.embedded import HOST, demo_settings
from app.cli.local_ims import free_socket, served
from app.main import create_broker_server
from app.sandbox import Sandbox, create_sandbox

APP = f"{Path(__file__).resolve().parents[1] / 'app'}/"


@dataclass(frozen=True)
class Ask:
    """One request, as it is sent each time."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


class Trace:
    """Counts calls while it is on."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.moves = 0
        self._last = ""

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """See ``sys.setprofile``."""
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(APP):
            return
        file = name.removeprefix(APP)
        self.moves += file != self._last
        self._last = file
        self.files[file] += 1
        self.calls[f"{file}:{frame.f_code.co_qualname}"] += 1


def _send(connection: http.client.HTTPConnection, ask: Ask) -> None:
    connection.putrequest(ask.method, ask.target, skip_accept_encoding=True)
    for name, value in ask.headers.items():
        connection.putheader(name, value)
    if ask.body:
        connection.putheader("Content-Length", str(len(ask.body)))
    connection.endheaders(ask.body or None)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise SystemExit(f"{ask.method} {ask.target.partition('?')[0]} was answered with status {answer.status}.")


async def _traced(connection: http.client.HTTPConnection, ask: Ask) -> Trace:
    trace = Trace()
    sys.setprofile(trace)
    try:
        await asyncio.to_thread(_send, connection, ask)
        await asyncio.sleep(0.05)  # What follows the answer belongs to the request.
    finally:
        sys.setprofile(None)
    return trace


def _asks(api_key: str) -> dict[str, tuple[Ask, int]]:
    """What is traced, and how many requests like it go first."""
    bearer = {"Authorization": f"Bearer {api_key}"}
    basic = base64.b64encode(f"{CALLER}:{api_key}".encode()).decode()
    form = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({"grant_type": "client_credentials", "org": OAUTH_ORG}).encode()
    return {
        "cold exchange, kind jwt": (Ask("GET", f"/token?org={JWT_ORG}", bearer), 0),
        "warm GET /token": (Ask("GET", f"/token?org={OAUTH_ORG}", bearer), 3),
        "warm GET /headers": (Ask("GET", f"/headers?org={OAUTH_ORG}", bearer), 3),
        "warm POST /oauth2/token": (Ask("POST", "/oauth2/token", form, body), 3),
    }


async def _measure(folder: Path, show: Callable[[str, Trace], None]) -> None:
    (folder / "credentials").mkdir(mode=0o700)
    api_key = demo_api_key(folder / "api-key", folder / "policy.yaml", DEMO_ORGS)
    with closing(free_socket(HOST, 0)) as sandbox_sock, closing(free_socket(HOST, 0)) as sock:
        sandbox_url = "http://{}:{}".format(*sandbox_sock.getsockname()[:2])
        tenants = demo_tenants(folder / "credentials", sandbox_url)
        sandbox = create_sandbox([tenant.client for tenant in tenants], base_url=sandbox_url)
        with _in_a_thread(sandbox, sandbox_sock):
            async with assembled(demo_settings(folder, sandbox_url)) as broker:
                server = create_broker_server(broker)
                serving = asyncio.create_task(server.serve(sockets=[sock]))
                with closing(http.client.HTTPConnection(HOST, sock.getsockname()[1], timeout=20)) as client:
                    await asyncio.to_thread(_send, client, Ask("GET", "/livez", {}))
                    for name, (ask, before) in _asks(api_key).items():
                        for _ in range(before):
                            await asyncio.to_thread(_send, client, ask)
                        show(name, await _fewest(client, ask, 5 if before else 1))
                server.should_exit = True
                await serving


@contextmanager
def _in_a_thread(sandbox: Sandbox, sock: socket.socket) -> Iterator[None]:
    """Serve the sandbox in an event loop of its own, which is not traced."""
    loop, end = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with served(sandbox, sock):
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()


async def _fewest(client: http.client.HTTPConnection, ask: Ask, times: int) -> Trace:
    """The shortest of `times` traces: an answer is prepared once per second, and timers may fire meanwhile."""
    traces = [await _traced(client, ask) for _ in range(times)]
    return min(traces, key=lambda trace: trace.calls.total())


def main() -> None:
    """Trace and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.traced_calls",
        description="How many Python functions, in how many files of app/, one request enters.",
    )
    parser.add_argument("--names", action="store_true", help="also list the functions")
    names: bool = parser.parse_args().names
    print(f"{'':28}{'calls':>8}{'files':>8}{'moves':>8}")

    def show(name: str, trace: Trace) -> None:
        print(f"{name:28}{trace.calls.total():8}{len(trace.files):8}{trace.moves:8}")
        if names:
            print("\n".join(f"    {number:5} {call}" for call, number in trace.calls.items()))

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(Path(folder), show))


if __name__ == "__main__":
    main()
