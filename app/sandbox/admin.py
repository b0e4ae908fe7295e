"""The admin API of the sandbox, under ``/sandbox/``. It serves only programs on the same machine."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.sandbox.clients import SandboxConfigError, client_from
from app.sandbox.faults import InvalidFaultError, fault_from
from app.sandbox.journal import EXCHANGES
from app.sandbox.state import SandboxState

MAX_ADMIN_BODY = 1024 * 1024

_Handler = Callable[[Request], Awaitable[Response]]


class _InvalidRequestError(ValueError):
    """A request is malformed; the message is one sentence for a person."""


def admin_routes(state: SandboxState) -> list[Route]:
    """The routes of this module."""
    admin = Admin(state)
    table: list[tuple[str, str, _Handler]] = [
        ("GET", "/sandbox/health", admin.health),
        ("GET", "/sandbox/clients", admin.clients),
        ("PUT", "/sandbox/clients/{client_id}", admin.put_client),
        ("DELETE", "/sandbox/clients/{client_id}", admin.delete_client),
        ("GET", "/sandbox/faults", admin.faults),
        ("POST", "/sandbox/faults", admin.add_fault),
        ("DELETE", "/sandbox/faults", admin.clear_faults),
        ("DELETE", "/sandbox/faults/{fault_id:int}", admin.clear_faults),
        ("GET", "/sandbox/journal", admin.journal),
        ("DELETE", "/sandbox/journal", admin.clear_journal),
        ("GET", "/sandbox/settings", admin.settings),
        ("PUT", "/sandbox/settings", admin.put_settings),
        ("POST", "/sandbox/tokens/revoke", admin.revoke),
    ]
    return [Route(path, _local_only(handler), methods=[method]) for method, path, handler in table]


def _local_only(handler: _Handler) -> _Handler:
    async def guarded(request: Request) -> Response:
        if not _is_loopback(request.client.host if request.client else ""):
            return _problem("The admin API of the sandbox is only for programs on the same machine.", 403)
        # A web page in a browser on this machine connects from loopback, too, but its Host or Origin reveals it.
        if "origin" in request.headers or not _names_loopback(request.headers.get("host", "")):
            return _problem(
                "The admin API of the sandbox is not for web pages: send Host: localhost, and no Origin.", 403
            )
        try:
            return await handler(request)
        except (_InvalidRequestError, SandboxConfigError, InvalidFaultError) as error:
            return _problem(str(error), 400)

    return guarded


def _names_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return "@" not in host and (name == "localhost" or _is_loopback(name))


def _is_loopback(host: str) -> bool:
    # The broker has this rule, too, in app/hosts.py. The sandbox shares no code with the broker that it tests.
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class Admin:
    """The admin API of a `SandboxState`."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def health(self, _request: Request) -> Response:
        """The sandbox is alive."""
        return JSONResponse({"status": "ok", "clients": len(self._state.clients.all())})

    async def clients(self, _request: Request) -> Response:
        """All clients, without their secrets."""
        return JSONResponse({"clients": [client.described() for client in self._state.clients.all()]})

    async def put_client(self, request: Request) -> Response:
        """Add a client, or replace the client with this id: with another kind, secret or certificate."""
        document = await _document(request)
        named = document.setdefault("client_id", request.path_params["client_id"])
        if named != request.path_params["client_id"]:
            raise SandboxConfigError("The client_id in the body differs from the one in the path.")
        client = client_from(document)
        self._state.clients.put(client)
        return JSONResponse(client.described())

    async def delete_client(self, request: Request) -> Response:
        """Remove a client."""
        if not self._state.clients.remove(request.path_params["client_id"]):
            return _problem("This client does not exist.", 404)
        return Response(status_code=204)

    async def faults(self, _request: Request) -> Response:
        """All faults."""
        return JSONResponse({"faults": self._state.faults.described()})

    async def add_fault(self, request: Request) -> Response:
        """Add a fault."""
        fault = self._state.faults.add(fault_from(await _document(request)))
        return JSONResponse(fault.described(), 201)

    async def clear_faults(self, request: Request) -> Response:
        """Remove one fault, or all faults. An exchange that already hangs continues to hang."""
        if not self._state.faults.clear(request.path_params.get("fault_id")):
            return _problem("This fault does not exist.", 404)
        return Response(status_code=204)

    async def journal(self, request: Request) -> Response:
        """The requests so far, filtered by ``since`` (a number), ``client_id`` and ``endpoint`` (how it begins)."""
        since = request.query_params.get("since", "0")
        if not since.isdecimal() or len(since) > 18:
            raise _InvalidRequestError("since must be a number.")
        endpoint = request.query_params.get("endpoint", EXCHANGES)
        entries = self._state.journal.entries(int(since), request.query_params.get("client_id"), endpoint)
        return JSONResponse({"entries": [entry.described() for entry in entries]})

    async def clear_journal(self, _request: Request) -> Response:
        """Remove all entries from the journal."""
        self._state.journal.clear()
        return Response(status_code=204)

    async def settings(self, _request: Request) -> Response:
        """The settings that can be changed."""
        state = self._state
        lifetimes = {"token_lifetime": state.token_lifetime, "last_used_lag": state.last_used_lag}
        return JSONResponse({**lifetimes, "hosts": sorted(state.hosts)})

    async def put_settings(self, request: Request) -> Response:
        """Change ``token_lifetime`` (of every client) or ``last_used_lag``, in seconds, or ``base_urls`` (a list)."""
        document = await _document(request)
        if not document or not set(document) <= {"token_lifetime", "last_used_lag", "base_urls"}:
            raise _InvalidRequestError("Settings are token_lifetime, last_used_lag and base_urls.")
        urls = document.get("base_urls", [])
        if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
            raise _InvalidRequestError("base_urls must be a list of URLs.")
        if "token_lifetime" in document:
            self._set_token_lifetime(document["token_lifetime"])
        if "last_used_lag" in document:
            self._set_last_used_lag(document["last_used_lag"])
        if "base_urls" in document:
            self._state.set_base_urls(urls)
        return await self.settings(request)

    async def revoke(self, request: Request) -> Response:
        """Revoke the token with this SHA-256, so that APIs refuse it with 401013."""
        digest = (await _document(request)).get("token_sha256")
        if not isinstance(digest, str) or not self._state.mint.revoke(digest.lower()):
            return _problem("No token with this token_sha256 was issued.", 404)
        return Response(status_code=204)

    def _set_token_lifetime(self, seconds: object) -> None:
        if not isinstance(seconds, int | float):
            raise _InvalidRequestError("token_lifetime must be a number of seconds above 0.")
        self._state.set_token_lifetime(seconds)
        for client in self._state.clients.all():
            self._state.clients.put(replace(client, token_lifetime=None))

    def _set_last_used_lag(self, seconds: object) -> None:
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            raise _InvalidRequestError("last_used_lag must be a number of seconds from 0.")
        self._state.set_last_used_lag(seconds)


async def _document(request: Request) -> dict[str, object]:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_ADMIN_BODY:
            raise _InvalidRequestError("The request body is larger than 1 MiB.")
    try:
        document = json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise _InvalidRequestError("The request body is not JSON.") from None
    if not isinstance(document, dict):
        raise _InvalidRequestError("The request body must be a JSON object.")
    return document


def _problem(detail: str, status: int) -> Response:
    return JSONResponse({"error": "invalid_order", "detail": detail}, status)
