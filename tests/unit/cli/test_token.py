"""``token get``, ``status`` and ``purge`` against servers on loopback with scripted answers."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.program import app
from app.domain.errors import ForbiddenError, UnauthenticatedError
from tests.support.ims_server import answering, http_answer, run_raw

ORG = "0123456789ABCDEF01234567@AdobeOrg"
KEY = "itb_x_" + "k" * 43
ANSWER = {"access_token": "eyJ.a.b", "token_type": "Bearer", "expires_in": 60, "client_id": "a'b", "org_id": ORG}


def _get(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(
        app, ["token", "get", *arguments], env={"ITB_API_KEY": KEY, "ITB_URL": None, **(env or {})}
    )


async def _asked(answer: bytes, *arguments: str) -> tuple[Result, list[bytes]]:
    """The result of the command against a server that always gives `answer`, and the requests that it received."""
    async with run_raw(answering(answer)) as server:
        result = await asyncio.to_thread(_get, ORG, "--url", server.base_url, *arguments)
        return result, server.requests


def _problem(status: str, document: object, headers: Iterable[str] = ()) -> bytes:
    return http_answer(json.dumps(document).encode(), status=status, headers=headers)


@pytest.mark.parametrize(
    ("option", "expected"),
    [((), "eyJ.a.b\n"), (("--header",), "Authorization: Bearer eyJ.a.b\n"), (("--json",), json.dumps(ANSWER) + "\n")],
)
async def test_the_output_has_three_forms(option: tuple[str, ...], expected: str) -> None:
    """The bare token is printed by default; a header line or the whole answer on request."""
    result, _ = await _asked(http_answer(json.dumps(ANSWER).encode()), *option)
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")


async def test_a_shell_gets_what_a_request_to_adobe_needs() -> None:
    """--env prints lines that a shell evaluates: the token, the client id for x-api-key, and the org."""
    result, _ = await _asked(http_answer(json.dumps(ANSWER).encode()), "--env")
    script = f'{result.stdout}printf "%s|" "$IMS_ACCESS_TOKEN" "$IMS_API_KEY" "$IMS_ORG_ID"'
    shell = await asyncio.to_thread(
        subprocess.run, ["sh", "-c", script], capture_output=True, text=True, check=True, env={}
    )
    assert (result.exit_code, shell.stdout) == (0, f"eyJ.a.b|a'b|{ORG}|")


@pytest.mark.parametrize("client_id", [None, 1, "a\nb"])
async def test_a_shell_gets_no_half_of_a_response(client_id: object) -> None:
    """--env prints nothing if the response lacks a value, or has one that does not fit on a line."""
    result, _ = await _asked(http_answer(json.dumps(ANSWER | {"client_id": client_id}).encode()), "--env")
    assert (result.exit_code, result.stdout, "not from a broker" in result.stderr) == (1, "", True)


async def test_the_request_carries_all_options() -> None:
    """All options reach the broker, and the API key is only in the header."""
    more = ("--credential", "other", "--scope", "openid,AdobeID", "--min-ttl", "600")
    _, requests = await _asked(http_answer(json.dumps(ANSWER).encode()), *more)
    head = requests[0].decode()
    line, _, headers = head.partition("\r\n")
    assert line.startswith("GET /token?")
    for part in ("org=0123456789ABCDEF01234567%40AdobeOrg", "credential=other", "openid%2CAdobeID", "min_ttl=600"):
        assert part in line
    assert KEY not in line
    assert f"authorization: bearer {KEY}".lower() in headers.lower()


async def test_a_key_file_takes_precedence(tmp_path: Path) -> None:
    """A key file takes precedence over the environment; its final newline is not part of the key."""
    file = tmp_path / "key"
    file.write_text(f"{KEY}2\n")
    _, requests = await _asked(http_answer(json.dumps(ANSWER).encode()), "--api-key-file", str(file))
    assert f"{KEY}2\r\n".encode() in requests[0]


async def test_a_refusal_is_one_sentence() -> None:
    """A refusal is printed as one sentence with the problem's detail, status, code and request id."""
    problem = {"detail": "The policy says no.", "code": "forbidden", "request_id": "r-1", "status": 403}
    result, _ = await _asked(_problem("403 Forbidden", problem))
    assert (result.exit_code, result.stdout) == (1, "")
    said = "The policy says no. This command needs a rule with the action vend."
    assert result.stderr == f"Error: {said} (403 forbidden, request id r-1)\n"


async def test_an_error_that_a_retry_may_end_says_when() -> None:
    """The time of Retry-After is printed after an error that is worth a retry."""
    problem = {"detail": "IMS answered 503.", "code": "ims_unavailable", "request_id": "r-1", "retryable": True}
    result, _ = await _asked(_problem("503 Service Unavailable", problem, ["Retry-After: 7"]))
    assert result.stderr == "Error: IMS answered 503. Try again in 7 s. (503 ims_unavailable, request id r-1)\n"


@pytest.mark.parametrize(
    ("retryable", "headers"), [(True, []), (True, ["Retry-After: soon"]), (False, ["Retry-After: 7"])]
)
async def test_a_time_for_a_retry_is_not_made_up(retryable: bool, headers: list[str]) -> None:
    """Without a number in Retry-After, or if a retry does not help, no time is printed."""
    problem = {"detail": "IMS answered 503.", "code": "ims_unavailable", "request_id": "r-1", "retryable": retryable}
    result, _ = await _asked(_problem("503 Service Unavailable", problem, headers))
    assert result.stderr == "Error: IMS answered 503. (503 ims_unavailable, request id r-1)\n"


async def test_a_key_that_the_broker_does_not_accept_is_said_to_be_so() -> None:
    """A 401 names the variable and the option that the API key comes from, not the header that carries it."""
    problem = {"detail": UnauthenticatedError.DETAIL, "code": "unauthenticated", "request_id": "r-1"}
    result, _ = await _asked(_problem("401 Unauthorized", problem))
    said = "The broker does not accept this API key or JWT: check ITB_API_KEY or --api-key-file."
    assert result.stderr == f"Error: {said} (401 unauthenticated, request id r-1)\n"


@pytest.mark.parametrize(("words", "action"), [(["status"], "status"), (["purge", "--org", ORG], "purge")])
async def test_a_command_that_the_policy_denies_names_the_action(words: list[str], action: str) -> None:
    """A 403 names the action of the rule that the command needs."""
    problem = {"detail": ForbiddenError.DETAIL, "code": "forbidden", "request_id": "r-1"}
    async with run_raw(answering(_problem("403 Forbidden", problem))) as server:
        asked = [*words, "--url", server.base_url]
        result = await asyncio.to_thread(CliRunner().invoke, app, asked, env={"ITB_API_KEY": KEY, "ITB_URL": None})
    assert result.exit_code == 1
    assert f"{ForbiddenError.DETAIL} This command needs a rule with the action {action}. (403 " in result.stderr


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"detail": 1}', b"\xff"])
async def test_a_refusal_without_a_problem_document_names_the_status(body: bytes) -> None:
    """A refusal that did not come from the broker is printed with its status and the request id of its header."""
    result, _ = await _asked(http_answer(body, status="502 Bad Gateway", headers=["X-Request-Id: r-2"]))
    assert result.stderr == "Error: The server there is not a broker; check --url. (502 error, request id r-2)\n"


async def test_control_characters_do_not_reach_the_terminal() -> None:
    """An answer with control characters is printed on one line without them."""
    problem = {"detail": "a\x1b[2Jb\nc\u202e", "code": "x\x07", "request_id": ["\x1b"]}
    result, _ = await _asked(_problem("400 Bad Request", problem))
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b"x", b'{"access_token": 1}', b'{"access_token": "a\\nb"}', b'{"access_token": "' + b"a" * 70_000],
)
async def test_an_answer_without_a_token_is_an_error(body: bytes) -> None:
    """Anything but a token answer is an error, and nothing is printed as a token."""
    result, _ = await _asked(http_answer(body))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is not a broker" in result.stderr


async def test_redirects_are_not_followed() -> None:
    """The API key is not sent to another URL."""
    result, requests = await _asked(http_answer(status="307 Temporary Redirect", headers=["Location: /elsewhere"]))
    assert result.exit_code == 1
    assert len(requests) == 1


def test_an_unreachable_broker_is_one_sentence() -> None:
    """An unreachable broker is reported in one sentence with its address and the reason."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        result = _get(ORG, "--url", url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: The broker at {url} cannot be reached: connection refused.\n"


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (["x"], {}, "org must be an IMS org id"),
        ([ORG, "--credential", "a b"], {}, "credential must be"),
        ([ORG, "--json", "--header"], {}, "only one of --json, --header and --env"),
        ([ORG, "--min-ttl", "43201"], {}, "--min-ttl"),
        ([ORG, "--url", "127.0.0.1:8080"], {}, "--url must be like"),
        ([ORG, "--url", "http://user:pw@127.0.0.1"], {}, "--url must be like"),
        ([ORG, "--url", "http://127.0.0.1:x"], {}, "--url must be like"),
        ([ORG], {"ITB_URL": "ftp://x"}, "--url must be like"),
        ([ORG], {"ITB_API_KEY": ""}, "No API key: set ITB_API_KEY"),
        ([ORG], {"ITB_API_KEY": f"{KEY} x"}, "ITB_API_KEY does not hold an API key"),
        ([ORG, "--api-key-file", "/nonexistent"], {}, "/nonexistent cannot be read"),
        ([ORG, "--api-key-file", "/dev/null"], {}, "/dev/null does not hold an API key"),
        ([ORG, "--ca-file", "/dev/null"], {}, "--ca-file: /dev/null is a device, not a regular file"),
    ],
)
def test_a_usage_error_is_one_sentence_without_the_key(arguments: list[str], env: dict[str, str], words: str) -> None:
    """A wrong command line or environment gives exit code 2 and one sentence, without the key."""
    result = _get(*arguments, env=env)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
    assert KEY not in result.stderr
