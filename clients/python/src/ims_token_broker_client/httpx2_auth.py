"""Adobe's headers for `httpx2.Client` and `httpx2.AsyncClient`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import httpx2

from ims_token_broker_client.refusal import bearer_token, is_invalid_token
from ims_token_broker_client.token import AdobeToken
from ims_token_broker_client.tokens import Tokens


class Httpx2Auth(httpx2.Auth):
    """Adds the headers, and repeats a request once with another token if Adobe refused the first with 401013.

    A request whose body is a stream is not repeated: it has been read. Its token is reported nevertheless.

    Args:
        tokens: The org's tokens.

    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """The flow in a `Client`."""
        token = self._tokens.get()
        _put(request, token)
        response = yield request
        if response.status_code != 401 or not _carried(response, token):
            return
        if not is_invalid_token(401, response.read()):
            return
        other = self._tokens.replacement(token.value)
        if other is not None and _repeatable(request):
            _put(request, other)
            yield request

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """The flow in an `AsyncClient`."""
        token = await self._tokens.get_async()
        _put(request, token)
        response = yield request
        if response.status_code != 401 or not _carried(response, token):
            return
        if not is_invalid_token(401, await response.aread()):
            return
        other = await self._tokens.replacement_async(token.value)
        if other is not None and _repeatable(request):
            _put(request, other)
            yield request


def _put(request: httpx2.Request, token: AdobeToken) -> None:
    named = request.headers.get("x-sandbox-name")
    request.headers.update(token.headers())
    if named is not None:  # the application has chosen one for this request
        request.headers["x-sandbox-name"] = named


def _carried(response: httpx2.Response, token: AdobeToken) -> bool:
    """Whether the token was sent to whoever answered; a redirect to another host drops it."""
    return bearer_token(response.request.headers.get("authorization")) == token.value


def _repeatable(request: httpx2.Request) -> bool:
    try:
        return request.content is not None
    except httpx2.RequestNotRead:
        return False
