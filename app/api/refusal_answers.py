"""The answers to errors that many requests share: rendered once, with the request id put in for each request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.responses import Response

from app.api.answers import Answer, ResponseHeaders
from app.api.problems import retry_after_of
from app.domain.errors import BrokerError

ErrorResponse = Callable[[BrokerError, str], Response]
"""Makes an answer from an error and a request id."""

MAX_FORMS = 256
"""Rendered errors of one endpoint. A request id can be as long as its sender wants, up to a limit."""

_PLACE = "~"
"""What stands for the request id while an answer is rendered; no request id has it."""


@dataclass(frozen=True, slots=True)
class _Form:
    """An answer without the request id in its body; the ids have the same length, so the headers are the same."""

    status: int
    headers: ResponseHeaders
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)


class RefusalAnswers:
    """Makes answers from errors as `render` does, byte for byte.

    Args:
        render: Makes an answer from an error. It depends on nothing of the error but its class, detail and retry_after.

    """

    def __init__(self, render: ErrorResponse) -> None:
        self._render = render
        # A dictionary that is cleared when full, not an LRU cache: there are few errors.
        self._forms: dict[tuple[type[BrokerError], str, int | None, int], _Form] = {}

    def answer(self, error: BrokerError, request_id: str) -> Answer:
        """The answer to the request with this id."""
        length = len(request_id)
        key = (type(error), error.detail, retry_after_of(error), length)
        form = self._forms.get(key)
        if form is None:
            if len(self._forms) >= MAX_FORMS:
                self._forms.clear()
            form = self._forms[key] = _form(self._render(error, _PLACE * length), _PLACE.encode() * length)
        return Answer(form.headers, b"".join((form.before, request_id.encode(), form.after)), form.status)


def _form(response: Response, place: bytes) -> _Form:
    before, _, after = bytes(response.body).partition(place)
    assert place not in after  # noqa: S101  # an answer has its request id once
    return _Form(response.status_code, ResponseHeaders(tuple(response.raw_headers)), before, after)
