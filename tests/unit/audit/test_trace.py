"""Tracing a token: who received it, found by the first digits of its SHA-256."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audit.lines import unwrapped
from app.audit.trace import MAX_RECEIVERS, MAX_REQUEST_IDS, Trace, token_prefix, trace
from tests.factories import ORG

SHA256 = hashlib.sha256(b"leaked").hexdigest()


def vended(number: int = 0, **changed: object) -> bytes:
    """The line of a request that was answered with the leaked token, with `changed` fields."""
    record = {
        "audit": 1,
        "time": f"2030-03-17T17:46:{number % 60:02}.250Z",
        "event": "request",
        "request_id": f"request-{number}",
        "caller": "journey",
        "org": ORG,
        "credential": "default",
        "token_sha256": SHA256[:16],
        "endpoint": "/token",
        "outcome": "vended",
        "tier": "memory",
    }
    return json.dumps({**record, **changed}, separators=(",", ":")).encode()


def traced(*lines: bytes) -> Trace:
    """The trace of the leaked token in these lines."""
    return trace(token_prefix(SHA256), unwrapped("audit.log", [line + b"\n" for line in lines]))


def test_a_receiver_is_reported_with_everything_it_received() -> None:
    """Answers to the same receiver are one entry, with first and last time, count and request ids."""
    [receiver] = traced(vended(5), vended(2), vended(9)).receivers
    assert (receiver.caller, receiver.org, receiver.endpoint, receiver.tier) == ("journey", ORG, "/token", "memory")
    assert (receiver.first[17:19], receiver.last[17:19], receiver.count) == ("02", "09", 3)
    assert receiver.request_ids == ["request-5", "request-2", "request-9"]


@pytest.mark.parametrize("name", ["caller", "org", "credential", "endpoint", "tier"])
def test_receivers_differ(name: str) -> None:
    """A different caller, org, credential, endpoint or tier is a separate receiver."""
    assert len(traced(vended(), vended(1, **{name: "other"})).receivers) == 2


@pytest.mark.parametrize("changed", [{"token_sha256": "0" * 16}, {"outcome": "forbidden"}, {"token_sha256": None}])
def test_others_are_not_receivers(changed: dict[str, object]) -> None:
    """A caller that got another token, or none, is not listed, even if the digits are elsewhere in the line."""
    assert traced(vended(0, request_id=SHA256[:16], **changed)).receivers == []


def test_the_period_is_reported() -> None:
    """The searched period is reported whatever was found; lines that are not audit lines do not count."""
    found = traced(vended(7, token_sha256=None), b'{"time":"2001-01-01T00:00:00.000Z"}', vended(3, token_sha256=None))
    assert (found.lines, found.since, found.until) == (2, "2030-03-17T17:46:03.250Z", "2030-03-17T17:46:07.250Z")


def test_the_result_is_bounded() -> None:
    """The request ids of a receiver and the number of receivers are limited; the rest is counted."""
    assert len(traced(*map(vended, range(100))).receivers[0].request_ids) == MAX_REQUEST_IDS
    found = traced(*(vended(number, caller=f"caller-{number}") for number in range(MAX_RECEIVERS + 2)))
    assert (len(found.receivers), found.left_out) == (MAX_RECEIVERS, 2)


@pytest.mark.parametrize("text", [SHA256, SHA256.upper(), SHA256[:16], SHA256[:20]])
def test_a_digest_is_whole_or_a_prefix(text: str) -> None:
    """A SHA-256 may be given whole or as its first 16 digits or more, in upper or lower case."""
    assert token_prefix(text) == SHA256[:16]


@given(
    st.text(max_size=70).filter(
        lambda text: not 16 <= len(text) <= 64 or not all(c in "0123456789abcdefABCDEF" for c in text)
    )
)
def test_anything_else_is_refused(text: str) -> None:
    """Anything but 16 to 64 hex digits is refused."""
    with pytest.raises(ValueError, match="64 hex digits"):
        token_prefix(text)
