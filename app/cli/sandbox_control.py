"""The command line as a client of a running sandbox: its admin API, which is on this machine."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote, urlencode, urlsplit

import typer

from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.printable import printable

DEFAULT_SANDBOX_PORT = 9000
DEFAULT_SANDBOX_URL = f"http://127.0.0.1:{DEFAULT_SANDBOX_PORT}"
_TIMEOUT = 10.0

SandboxUrlOption = Annotated[
    str, typer.Option("--url", envvar="ITB_SANDBOX_URL", metavar="URL", help="The sandbox's URL.")
]


class SandboxControl:
    """A sandbox at a URL.

    Args:
        url: Its base URL.

    Raises:
        CommandError: The URL cannot be used.

    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            parts = urlsplit(self._url)
            port = parts.port or 80
        except ValueError:
            parts, port = urlsplit(""), 0
        if parts.scheme != "http" or not parts.hostname or parts.path or parts.query or parts.username:
            raise CommandError(f"--url must be like {DEFAULT_SANDBOX_URL}, without path, query or user.", USAGE)
        self._host, self._port = parts.hostname, port

    def faults(self) -> list[dict[str, Any]]:
        """All faults, the oldest first."""
        return _objects(self._ask("GET", "/sandbox/faults"), "faults", self._url)

    def add_fault(self, order: Mapping[str, object]) -> dict[str, Any]:
        """Order a fault; the answer is the fault with its id."""
        return self._ask("POST", "/sandbox/faults", order)

    def remove_fault(self, fault_id: int) -> None:
        """Remove a fault, if it is still there."""
        self._ask("DELETE", f"/sandbox/faults/{fault_id}", missing_ok=True)

    def remove_all_faults(self) -> None:
        """Remove all faults."""
        self._ask("DELETE", "/sandbox/faults")

    def journal(self, since: int, client_id: str | None) -> list[dict[str, Any]]:
        """What was asked after entry `since`: exchanges and calls of Adobe's APIs, the oldest first."""
        query = {"endpoint": "", "since": str(since), **({} if client_id is None else {"client_id": client_id})}
        return _objects(self._ask("GET", f"/sandbox/journal?{urlencode(query, quote_via=quote)}"), "entries", self._url)

    def _ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, missing_ok: bool = False
    ) -> dict[str, Any]:
        try:
            status, content = self._answer(method, path, body)
        except TimeoutError:
            raise CommandError(f"The sandbox at {self._url} does not answer in time.") from None
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else "the name is unknown"
            raise CommandError(
                f"No sandbox answers at {self._url}: {reason}. Start one with: ims-token-broker sandbox; or give --url."
            ) from None
        except http.client.HTTPException:
            raise self._not_a_sandbox() from None
        if status == 404 and missing_ok:
            return {}
        return self._document(status, content)

    def _answer(self, method: str, path: str, body: Mapping[str, object] | None) -> tuple[int, bytes]:
        # Never by a proxy: the sandbox answers orders from its own machine only.
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _document(self, status: int, content: bytes) -> dict[str, Any]:
        if status == 204:
            return {}
        try:
            document = json.loads(content)
        except ValueError:
            raise self._not_a_sandbox() from None
        if not isinstance(document, dict):
            raise self._not_a_sandbox()
        if status >= 400:
            if document.get("error") != "invalid_order":
                raise self._not_a_sandbox()
            raise CommandError(printable(document.get("detail")), USAGE if status == 400 else FAILED)
        return document

    def _not_a_sandbox(self) -> CommandError:
        return CommandError(f"The server at {self._url} is not a sandbox: check --url.")


def _objects(document: Mapping[str, Any], name: str, url: str) -> list[dict[str, Any]]:
    found = document.get(name)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise CommandError(f"The server at {url} is not a sandbox: check --url.")
    return found
