"""One replica of the broker as a real process, and how a test speaks to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

from tests.support.children import Child
from tests.support.processes import CLI, environment
from tests.support.wire import Header, Reply, exchange, request_bytes

FORM = (b"Content-Type", b"application/x-www-form-urlencoded")


class BrokerProcess:
    """``ims-token-broker serve``.

    Args:
        name: Distinguishes replicas of one folder.
        folder: The folder for its files.
        settings: Its ``BROKER_`` variables, without the prefix. The port is a free one.
        key: The API key to use if a test names none.
        env: Further variables.
        cli: The command line to run.

    """

    def __init__(
        self,
        name: str,
        folder: Path,
        settings: Mapping[str, str],
        key: str,
        env: Mapping[str, str] | None = None,
        cli: Sequence[str] = CLI,
    ) -> None:
        self.audit = folder / f"{name}.audit"
        self.key = key
        own = {"HOST": "127.0.0.1", "PORT": "0", "AUDIT_FILE": str(self.audit), **settings}
        variables = {f"BROKER_{variable}": value for variable, value in own.items()}
        self.process = Child(name, [*cli, "serve"], folder, {**environment(folder), **variables, **(env or {})})
        self.scheme, self.port = "http", 0

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def listen(self) -> None:
        """Wait until it takes requests."""
        said = self.process.said(r"listening on (https?)://127\.0\.0\.1:(\d+)")
        self.scheme, self.port = said[1], int(said[2])

    async def token(self, org: str, key: str | None = None, **parameters: object) -> Reply:
        """``GET /token``."""
        return await exchange(self.port, self.token_request(org, key, **parameters))

    def token_request(self, org: str, key: str | None = None, **parameters: object) -> bytes:
        """``GET /token`` as bytes."""
        query = urlencode({"org": org, **parameters})
        return request_bytes("GET", f"/token?{query}", [self.bearer(key)])

    async def oauth2(self, org: str, client_id: str, client_secret: str | None = None) -> Reply:
        """``POST /oauth2/token`` with form fields."""
        form = {
            "grant_type": "client_credentials",
            "org": org,
            "client_id": client_id,
            "client_secret": client_secret or self.key,
        }
        return await exchange(self.port, request_bytes("POST", "/oauth2/token", [FORM], urlencode(form).encode()))

    async def purge(self, org: str) -> Reply:
        """``DELETE /token``."""
        return await self.get(f"/token?{urlencode({'org': org})}", method="DELETE")

    async def report(self, org: str, token_sha256: str) -> Reply:
        """``POST /token/report``."""
        return await exchange(self.port, self.report_request(org, token_sha256))

    def report_request(self, org: str, token_sha256: str) -> bytes:
        """``POST /token/report`` as bytes."""
        body = json.dumps({"token_sha256": token_sha256}).encode()
        headers = [self.bearer(), (b"Content-Type", b"application/json")]
        return request_bytes("POST", f"/token/report?{urlencode({'org': org})}", headers, body)

    async def get(
        self, target: str, *, method: str = "GET", key: str | None = None, headers: Sequence[Header] = ()
    ) -> Reply:
        """Any request without a body."""
        data = request_bytes(method, target, [self.bearer(key), *headers])
        return await exchange(self.port, data, bodiless=method == "HEAD")

    def audit_lines(self) -> list[dict[str, object]]:
        """What it wrote to its audit log so far; not the line that it is just writing."""
        return [json.loads(line) for line in self.audit.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    def bearer(self, key: str | None = None) -> Header:
        """The header that proves a caller."""
        return b"Authorization", b"Bearer " + (key or self.key).encode()
