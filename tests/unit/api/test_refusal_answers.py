"""Answers to errors that are rendered once are those that are rendered each time."""

from __future__ import annotations

import pytest
from starlette.responses import Response

from app.api.oauth2 import oauth2_error
from app.api.problems import problem_response
from app.api.refusal_answers import MAX_FORMS, ErrorResponse, RefusalAnswers
from app.domain.errors import (
    BrokerError,
    ForbiddenError,
    InvalidRequestError,
    RateLimitedError,
    SourceLimitedError,
    UnauthenticatedError,
)
from app.domain.refusal_reason import RefusalReason

ERRORS = (
    ForbiddenError(),
    ForbiddenError("callers[0].allow[1]"),
    UnauthenticatedError(RefusalReason.EXPIRED),
    UnauthenticatedError(RefusalReason.MISSING),
    RateLimitedError(0.2),
    RateLimitedError(1.2),
    RateLimitedError(3600.0),
    SourceLimitedError(0.2),
    InvalidRequestError("One."),
    InvalidRequestError("Another one."),
)
IDS = ("a", "status", "own.id_1-", "0" * 28, "type", "x" * 64)


def shown(response: Response) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """All of a response."""
    return response.status_code, list(response.raw_headers), bytes(response.body)


@pytest.mark.parametrize("render", [problem_response, oauth2_error])
def test_an_answer_is_that_of_its_error_and_request(render: ErrorResponse) -> None:
    """Status, headers in order, and body, for each error and each length of the request id, in any order."""
    answers = RefusalAnswers(render)
    for _ in range(2):
        for request_id in IDS:
            for error in ERRORS:
                assert shown(answers.answer(error, request_id).response()) == shown(render(error, request_id))


def test_an_answer_is_rendered_once_and_forms_are_bounded() -> None:
    """For all requests with ids of one length; if there are too many forms, they are rendered again."""
    rendered: list[str] = []

    def render(error: BrokerError, request_id: str) -> Response:
        rendered.append(request_id)
        return problem_response(error, request_id)

    answers = RefusalAnswers(render)
    for number in range(100):
        answers.answer(ForbiddenError(), f"{number:028}")
    assert len(rendered) == 1
    for seconds in range(1, 10 * MAX_FORMS):
        answers.answer(RateLimitedError(float(seconds)), "id")
        assert len(answers._forms) <= MAX_FORMS
