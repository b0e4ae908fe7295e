"""What an answer of Adobe's gateway means (docs/ims.md section 8)."""

from __future__ import annotations

import pytest

from app.domain.gateway_error import explain_gateway


@pytest.mark.parametrize("status", [200, 204, 299])
def test_a_success_needs_no_explanation(status: int) -> None:
    """Whatever else the answer says, it is not an error."""
    assert explain_gateway(status, "403003") is None


@pytest.mark.parametrize(("status", "code", "known", "cause"), [
    (403, "403000", "403000", "an API key or org id is missing"), (403, 403003, "403003", "does not fit"),
    (403, "403010", "403010", "the token is missing"), (401, "401013", "401013", "not valid"),
    (429, "429050", "429050", "too many requests"), (503, "503010", "503010", "could not validate"),
    (403, "403999", "403999", "no permission"), (403, None, None, "no permission"), (401, "x", None, "refused"),
    (404, "4030001", None, "nothing is there"), (429, "", None, "usage limit"), (500, None, None, "the API fails"),
    (502, "500000", "500000", "the API fails"), (400, None, None, "refuses the request"),
    (300, "403", None, "refuses the request"),
])  # fmt: skip
def test_the_code_decides_and_then_the_status(status: int, code: object, known: str | None, cause: str) -> None:
    """A code of six digits is repeated, nothing else; each answer has a cause and a remedy."""
    error = explain_gateway(status, code)
    assert error is not None
    assert (error.status, error.code) == (status, known)
    assert cause in error.cause
    assert error.remedy.endswith(".")
