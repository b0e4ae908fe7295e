"""A real egress proxy (tinyproxy) on a loopback port, and TLS in front of any port."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from tests.support.children import Child, free_port, wait_until
from tests.support.tools import skip_or_fail

_REQUEST = re.compile(r"Request \(file descriptor \d+\): (.+)$", re.MULTILINE)


class ProxyServer:
    """A proxy process.

    Args:
        folder: Where its configuration and its log are.

    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("tinyproxy")
        if program is None:
            skip_or_fail("tinyproxy is not installed")
        self.port = free_port()
        self._folder = folder
        self._log = folder / "tinyproxy.log"
        self._child = Child("tinyproxy", [program, "-d", "-c", str(folder / "tinyproxy.conf")], folder, {})

    @property
    def url(self) -> str:
        """For ``BROKER_PROXY_URL``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[str]:
        """The request lines that it has seen, in order."""
        return _REQUEST.findall(self._log.read_text()) if self._log.exists() else []

    def start(self, *, login: tuple[str, str] | None = None, ports: Sequence[int] = ()) -> None:
        """Start it, or start it again with another configuration.

        Args:
            login: The user and password that it asks for; None for no login.
            ports: The ports to which it connects; empty for all.

        """
        self.stop()
        lines = [f"Port {self.port}", "Listen 127.0.0.1", "Timeout 30", "LogLevel Info", f'LogFile "{self._log}"']
        lines += [f"ConnectPort {port}" for port in ports]
        if login is not None:
            lines.append("BasicAuth {} {}".format(*login))
        (self._folder / "tinyproxy.conf").write_text("\n".join(lines) + "\n")
        self._child.launch()
        wait_until(self._listens, f"tinyproxy does not start: {self._child.tail()}")

    def stop(self) -> None:
        """End it."""
        self._child.kill()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextlib.contextmanager
def running_proxy(folder: Path) -> Iterator[ProxyServer]:
    """A proxy without a login, for as long as the context lasts."""
    folder.mkdir(exist_ok=True)
    server = ProxyServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.asynccontextmanager
async def tls_in_front(port: int, tls: ssl.SSLContext) -> AsyncIterator[int]:
    """A port that speaks TLS and passes everything on to `port`."""
    tasks: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        onward = None
        try:
            behind, onward = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_copied(reader, onward), _copied(behind, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            for end in (writer, onward):
                if end is not None:
                    end.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, ssl=tls)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        pending = list(tasks)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
