"""Simulates Adobe's API for client secrets: list, add a second one, delete one (docs/ims.md section 3.3).

Adobe documents the answers to good requests only. The errors here are those of its gateway (docs/ims.md section 8) for
key, token and scopes, and plain statuses for the rest:

| error | status | error_code |
|---|---|---|
| no or a wrong ``X-Api-Key``, no token, a token that is not valid | as in `app.sandbox.gateway` | |
| a token without one of `SCOPES` | 403 | 403011 |
| a credential that does not exist in this org, or a uuid that does not exist | 404 | 404000 |
| a service account (JWT), a third secret, or the deletion of the only one | 400 | 400000 |
"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.sandbox.api_call import ApiRefusal, api_endpoint, token_of
from app.sandbox.client_secrets import SecretRecord
from app.sandbox.clients import SandboxClient
from app.sandbox.state import SandboxState
from app.sandbox.tokens import IssuedRecord

SCOPES = (
    "AdobeID", "openid", "read_organizations", "additional_info.projectedProductContext", "additional_info.roles",
    "adobeio_api", "read_client_secret", "manage_client_secrets",
)  # fmt: skip
"""What the API requires of a token."""

MAX_SECRETS = 2

_OUTCOMES = {"GET": "listed", "POST": "added", "DELETE": "deleted"}
_PATH = "/console/organizations/{console_org_id}/credentials/{credential_id}/secrets"


def secrets_api_routes(state: SandboxState) -> list[Route]:
    """The routes of this module."""
    api = SecretsApi(state)
    table = [("GET", _PATH, api.list), ("POST", _PATH, api.add), ("DELETE", f"{_PATH}/{{uuid}}", api.delete)]
    return [
        Route(path, api_endpoint(state, "/console/secrets", handler, _OUTCOMES), methods=[method])
        for method, path, handler in table
    ]


class SecretsApi:
    """Answers from a `SandboxState`."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def list(self, request: Request) -> Response:
        """``GET``: all secrets, without their values."""
        client = self._client(request)
        shown = [self._described(record) for record in self._state.clients.secrets(client.client_id)]
        return JSONResponse({"client_id": client.client_id, "client_secrets": shown})

    async def add(self, request: Request) -> Response:
        """``POST``: a second secret; only this answer has its value."""
        client = self._client(request)
        if len(client.client_secrets) >= MAX_SECRETS:
            raise ApiRefusal(400, "400000", f"A credential can have at most {MAX_SECRETS} client secrets")
        value = f"p8e-{secrets.token_urlsafe(24)}"
        self._state.clients.put(replace(client, client_secrets=(*client.client_secrets, value)))
        [record] = [record for record in self._state.clients.secrets(client.client_id) if record.value == value]
        return JSONResponse({**self._described(record), "client_secret": value}, 201)

    async def delete(self, request: Request) -> Response:
        """``DELETE``: one secret, which exchanges cannot use from now on."""
        client = self._client(request)
        records = self._state.clients.secrets(client.client_id)
        kept = tuple(record.value for record in records if record.uuid != request.path_params["uuid"])
        if len(kept) == len(records):
            raise ApiRefusal(404, "404000", "Client secret not found")
        if not kept:
            raise ApiRefusal(400, "400000", "The only client secret of a credential cannot be deleted")
        self._state.clients.put(replace(client, client_secrets=kept))
        return Response(status_code=204)

    def _client(self, request: Request) -> SandboxClient:
        """The credential that the path names, if the token may manage it."""
        token = token_of(self._state, request)
        if not set(SCOPES) <= set(token.claims.get("scope", "").split(",")):
            raise ApiRefusal(403, "403011", "Oauth token scope is not sufficient")
        ids = request.path_params
        client = self._state.clients.in_console(ids["console_org_id"], ids["credential_id"])
        if client is None or not _may_manage(token, client):
            raise ApiRefusal(404, "404000", "Credential not found")
        if client.kind == "jwt":
            raise ApiRefusal(400, "400000", "A service account (JWT) has no secrets to manage")
        return client

    def _described(self, record: SecretRecord) -> dict[str, object]:
        used = record.last_used_at(self._state.clock(), self._state.last_used_lag)
        usage = [{"last_used_at": _milliseconds(used), "grant_type": "client_credentials"}] if used else None
        return {
            "expires_at": "PERMANENT",
            "expires_at_str": "PERMANENT",
            "created_at": _milliseconds(record.created_at),
            "created_at_str": time.strftime("%a, %b %-d %Y %H:%M:%S.000 UTC", time.gmtime(record.created_at)),
            "uuid": record.uuid,
            "secret_usages": usage,
        }


def _may_manage(token: IssuedRecord, client: SandboxClient) -> bool:
    """Whether a token may manage a client: one of its own org, or its own one, which an app gets for each org.

    Adobe documents neither which tokens may manage the secrets of an app, nor that this API is for apps at all.
    """
    return token.org_id == client.org_id or token.client_id == client.client_id


def _milliseconds(unix_seconds: float) -> str:
    return str(int(unix_seconds * 1000))
