"""The commands for a running sandbox, as processes: faults, journal, replay, and what they say when they cannot."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.children import free_port
from tests.support.processes import Finished, run_cli, running_cli

ORG = "0123456789ABCDEF01234567@AdobeOrg"
SECRET = "hunter2canary"
CLIENT = {
    "client_id": "c", "org_id": ORG, "kind": "oauth_server_to_server", "client_secrets": [SECRET], "scopes": ["openid"],
}  # fmt: skip
FAULT = {
    "kind": "status", "seconds": 0.0, "status": 429, "retry_after": "30", "error": None, "client_id": "c", "org": ORG,
    "path": "/ims/token", "count": 2, "share": 1.0, "lasts": None, "id": 1, "hits": 0, "seen": 0, "ends_at": None,
}  # fmt: skip
"""What ``sandbox fault`` prints with ``--json``."""


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """A running sandbox with one client."""
    clients = tmp_path / "clients.json"
    clients.write_text(json.dumps([CLIENT]))
    async with running_cli("sandbox", "--port", "0", "--json", "--clients", str(clients)) as cli:
        yield json.loads((await cli.said("^{.*}$"))[0])["sandbox"]


async def order(url: str, *arguments: str) -> Finished:
    """Run a command for the sandbox; it must succeed."""
    finished = await run_cli("sandbox", *arguments, env={"ITB_SANDBOX_URL": url})
    assert finished.code == 0, finished
    return finished


async def order_as_json(url: str, *arguments: str) -> Any:
    """Run a command for the sandbox with ``--json``: one line, and nothing on standard error."""
    finished = await order(url, *arguments, "--json")
    assert (len(finished.stdout.splitlines()), finished.stderr) == (1, "")
    return json.loads(finished.stdout)


async def exchange(url: str, secret: str = SECRET) -> httpx2.Response:
    """Exchange the client's secret for a token."""
    form = {"grant_type": "client_credentials", "client_id": "c", "client_secret": secret, "scope": "openid"}
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        return await http.post("/ims/token/v3", data=form)


async def test_a_fault_is_ordered_listed_and_removed(url: str) -> None:
    """A fault strikes as it was ordered; the JSON of each order has exactly the documented members."""
    options = ["--status", "429", "--retry-after", "30", "--times", "2", "--client-id", "c", "--org", ORG]
    added = await order_as_json(url, "fault", "status", *options, "--path", "/ims/token")
    assert added == FAULT
    struck = await exchange(url)
    assert (struck.status_code, struck.headers["retry-after"]) == (429, "30")
    listed = await order_as_json(url, "fault", "--list")
    assert listed == {"faults": [{**FAULT, "count": 1, "hits": 1, "seen": 1, "active": True}]}
    assert await order_as_json(url, "fault", "--clear") == {"removed": 1}
    assert await order_as_json(url, "fault", "--list") == {"faults": []}
    assert (await exchange(url)).status_code == 200


async def test_faults_are_described_in_words(url: str) -> None:
    """Without ``--json`` each fault is one line that says what, where, how often and how long."""
    sentences = [
        (("drip", "--seconds", "0.5"), "fault 1: drip, 0.5 s per byte, at exchanges"),
        (
            ("lost", "--status", "504", "--path", "/console", "--share", "0.25", "--for", "60"),
            "fault 2: lost 504, at /console, 25 % of the requests, for 60 s",
        ),
    ]
    for arguments, sentence in sentences:
        assert (await order(url, "fault", *arguments)).stdout == f"{sentence}\n"
    listed = (await order(url, "fault", "--list")).stdout
    assert listed.splitlines() == [f"{sentence}; active, 0 requests affected" for _, sentence in sentences]
    assert (await order(url, "fault", "--clear")).stdout == "2 faults removed.\n"
    assert (await order(url, "fault", "--list")).stdout == "No faults.\n"


async def test_the_journal_says_what_was_asked(url: str) -> None:
    """Each request has time, endpoint, client, org, outcome and debug id, in both forms, and no secret or token."""
    issued, refused = await exchange(url), await exchange(url, "another-canary")
    token = issued.json()["access_token"]
    printed = await order(url, "journal")
    entries = (await order_as_json(url, "journal"))["entries"]
    known = {"endpoint": "/ims/token", "client_id": "c", "org": ORG, "fault": None}
    for entry in entries:
        assert isinstance(entry.pop("time"), float)
    digest = entries[0].pop("token_sha256")
    assert len(digest) == 64
    assert entries == [
        {**known, "seq": 1, "outcome": "issued", "debug_id": issued.headers["x-debug-id"]},
        {
            **known,
            "seq": 2,
            "outcome": "invalid_client",
            "token_sha256": None,
            "debug_id": refused.headers["x-debug-id"],
        },
    ]
    heading, *lines = printed.stdout.splitlines()
    assert heading.split() == ["time", "endpoint", "outcome", "client", "org", "debug", "id"]
    assert [line.split()[1:] for line in lines] == [
        ["/ims/token", "issued", "c", ORG, issued.headers["x-debug-id"]],
        ["/ims/token", "invalid_client", "c", ORG, refused.headers["x-debug-id"]],
    ]
    assert (await order_as_json(url, "journal", "--client-id", "d")) == {"entries": []}
    assert not any(text in printed.stdout + str(entries) for text in (SECRET, "another-canary", token))


async def test_the_journal_can_be_followed(url: str) -> None:
    """With --follow, earlier and later requests are printed once each, until Ctrl-C."""
    await exchange(url)
    async with running_cli("sandbox", "journal", "--follow", "--json", "--url", url) as cli:
        await cli.said('"seq": 1')
        for number in (2, 3):
            await exchange(url)
            await cli.said(f'"seq": {number}')
            await order(url, "journal")  # takes longer than the pause, so that one look finds nothing new
        finished = await cli.stop(signal.SIGINT)
    assert (finished.code, finished.stderr) == (130, "")
    assert [json.loads(line)["seq"] for line in finished.stdout.splitlines()] == [1, 2, 3]


def _recording(folder: Path, *lines: dict[str, object]) -> str:
    file = folder / "outage.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(file)


async def test_an_outage_is_played(url: str, tmp_path: Path) -> None:
    """Faults begin and end at their times, divided by the speed; then they are removed, and their hits are printed."""
    lines = [
        {"at": 0, "lasts": 3600, "kind": "status", "status": 500},
        {"at": 3600, "lasts": 3600, "kind": "status", "status": 429},
    ]
    file = _recording(tmp_path, {"title": "Two hours."}, *lines)
    async with running_cli("sandbox", "replay", file, "--speed", "900", "--json", "--url", url) as cli:
        seen = []
        for number in (1, 2):
            await cli.said(f"fault {number}: status", stream="stderr")
            seen.append((await exchange(url)).status_code)
        finished = await cli.ended()
    assert (await exchange(url)).status_code == 200
    assert seen == [500, 429]
    assert finished.code == 0
    assert finished.stderr.splitlines() == [
        "Two hours.",
        "     0.0 s  fault 1: status 500, at exchanges, for 3600 s",
        "  3600.0 s  fault 2: status 429, at exchanges, for 3600 s",
    ]
    assert json.loads(finished.stdout) == {
        "title": "Two hours.", "speed": 900.0, "seconds": 7200.0, "hits": 2,
        "faults": [{"at": at, "kind": "status", "seen": 1, "hits": 1} for at in (0.0, 3600.0)],
    }  # fmt: skip
    assert await order_as_json(url, "fault", "--list") == {"faults": []}


async def test_a_replay_says_in_words_what_it_did(url: str, tmp_path: Path) -> None:
    """Without ``--json`` the numbers of faults and requests are one sentence, in the singular for one."""
    file = _recording(tmp_path, {"at": 0, "lasts": 1, "kind": "hang"})
    assert (await order(url, "replay", file, "--speed", "100")).stdout == "1 fault affected 0 requests in 0.0 s.\n"


async def test_a_replay_that_is_stopped_leaves_no_fault(url: str, tmp_path: Path) -> None:
    """Ctrl-C removes the faults of the recording, and leaves those that were there before."""
    await order(url, "fault", "latency", "--path", "/imp")
    file = _recording(tmp_path, {"at": 0, "lasts": 600, "kind": "hang"})
    async with running_cli("sandbox", "replay", file, "--url", url) as cli:
        await cli.said("hang", stream="stderr")
        finished = await cli.stop(signal.SIGINT)
    assert (finished.code, finished.stdout) == (130, "")
    left = (await order_as_json(url, "fault", "--list"))["faults"]
    assert [fault["kind"] for fault in left] == ["latency"]


async def _refused(*arguments: str, code: int = 2) -> str:
    finished = await run_cli("sandbox", *arguments)
    assert (finished.code, finished.stdout, len(finished.stderr.splitlines())) == (code, "", 1), finished
    return finished.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fault", "nonsense"), "kind must be one of latency, hang"),
        (("fault", "wrong_unit", "--path", "/imp"), "is for exchanges"),
        (("fault", "hang", "--path", "/else"), "path must begin with one of"),
        (("fault", "hang", "--retry-after", "ü"), "retry_after must be a string of printable ASCII"),
    ],
)
async def test_a_wrong_order_is_one_sentence(url: str, arguments: tuple[str, ...], words: str) -> None:
    """What the sandbox does not accept is said in its words, with the exit status of a usage error."""
    assert words in await _refused(*arguments, "--url", url)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fault",), "Give either a KIND with its options, or --list, or --clear."),
        (("fault", "hang", "--list"), "Give either"),
        (("fault", "--clear", "--times", "1"), "Give either"),
        (("--port", "1", "journal"), "put the options of journal after it"),
        (("journal", "--url", "https://127.0.0.1:1"), "--url must be like http://127.0.0.1:9000"),
        (("journal", "--url", "http://a:b@127.0.0.1"), "--url must be like"),
        (("journal", "--url", "http://["), "--url must be like"),
        (("replay", "/nowhere/outage.jsonl"), "/nowhere/outage.jsonl cannot be read: no such file"),
        (("nonsense",), "No such command"),
    ],
)
async def test_a_wrong_command_line_is_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    """A wrong command line says what to do instead, without asking a sandbox."""
    assert words in await _refused(*arguments)


async def test_a_malformed_recording_is_refused_before_it_is_played(url: str, tmp_path: Path) -> None:
    """A recording whose last line is wrong does nothing at all."""
    file = _recording(tmp_path, {"at": 0, "lasts": 1, "kind": "hang"}, {"at": 1, "lasts": 1, "kind": "hnag"})
    assert f"{file}: line 2: kind must be one of" in await _refused("replay", file, "--url", url)
    assert await order_as_json(url, "fault", "--list") == {"faults": []}


async def test_no_sandbox_is_one_sentence(tmp_path: Path) -> None:
    """If nothing listens there, or something else does, the sentence says so, with the exit status of a failure."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    said = await _refused("journal", "--url", nowhere, code=1)
    assert f"No sandbox answers at {nowhere}: connection refused. Start one with: ims-token-broker sandbox" in said
    async with running_cli("dev", "--dir", str(tmp_path), "--json") as cli:
        broker = json.loads((await cli.said("^{.*}$"))[0])["broker"]
        assert "is not a sandbox: check --url" in await _refused("journal", "--url", broker, code=1)


async def test_dev_prints_orders_that_work(tmp_path: Path) -> None:
    """``dev`` prints how to order faults of its sandbox, as text and as JSON, and the lines work."""
    async with running_cli("dev", "--dir", str(tmp_path)) as cli:
        line = (await cli.said("^ims-token-broker (sandbox fault status .*)$"))[1]
        ordered = await run_cli(*line.split())
        await cli.said("^ims-token-broker sandbox fault --clear --url http://127.0.0.1:")
        await cli.said("^ims-token-broker sandbox journal --follow --url http://127.0.0.1:")
    assert (ordered.code, ordered.stdout) == (0, "fault 1: status 503, at exchanges, the next 3\n")
