"""Adobe's headers for `requests`."""

from __future__ import annotations

from typing import Any

import requests
from requests.auth import AuthBase

from ims_token_broker_client.refusal import bearer_token, is_invalid_token
from ims_token_broker_client.token import AdobeToken
from ims_token_broker_client.tokens import Tokens


class RequestsAuth(AuthBase):
    """Adds the headers, and repeats a request once with another token if Adobe refused the first with 401013.

    A request whose body is a generator, or a file that cannot be rewound, is not repeated. Its token is reported
    nevertheless.

    Args:
        tokens: The org's tokens.

    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Prepare a request."""
        _put(r, self._tokens.get())
        start = _position(r.body)

        def repeat(response: requests.Response, **kwargs: Any) -> requests.Response:
            return self._repeated(response, start, kwargs)

        r.register_hook("response", repeat)
        return r

    def _repeated(self, response: requests.Response, start: int | None, options: dict[str, Any]) -> requests.Response:
        # A redirect to another host drops the token; then there is nothing to report, and no one to send another to.
        sent = bearer_token(response.request.headers.get("Authorization"))
        if response.status_code != 401 or not sent or not is_invalid_token(401, response.content):
            return response
        other = self._tokens.replacement(sent)
        if other is None or start is None:
            return response
        response.close()
        again = response.request.copy()
        if start >= 0:
            getattr(again.body, "seek")(start)  # noqa: B009  # checked by _position
        _put(again, other)
        answer: requests.Response = getattr(response, "connection").send(again, **options)  # noqa: B009  # untyped
        answer.history.append(response)
        answer.request = again
        return answer


def _put(request: requests.PreparedRequest, token: AdobeToken) -> None:
    named = request.headers.get("x-sandbox-name")
    request.headers.update(token.headers())
    if named is not None:  # the application has chosen one for this request
        request.headers["x-sandbox-name"] = named


def _position(body: object) -> int | None:
    """Where to rewind a body to: -1 if that is not necessary, None if it is impossible."""
    if body is None or isinstance(body, str | bytes):
        return -1
    try:
        return int(getattr(body, "tell")()) if callable(getattr(body, "seek", None)) else None  # noqa: B009
    except (AttributeError, OSError, TypeError, ValueError):
        return None
