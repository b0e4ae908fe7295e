"""``audit verify`` and ``audit trace``."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.program import app
from tests.factories import ORG
from tests.support.chained_log import ChainedLog

CHAIN = "a" * 16
TOKEN = "eyJ.canary-token"
SHA256 = hashlib.sha256(TOKEN.encode()).hexdigest()


@pytest.fixture
def lines() -> list[bytes]:
    """A log in which one caller received the token."""
    log = ChainedLog(CHAIN)
    received = {
        "request_id": "id-1", "caller": "journey", "org": ORG, "credential": "default", "endpoint": "/headers",
        "tier": "shared", "outcome": "vended", "token_sha256": SHA256[:16],
    }  # fmt: skip
    return [*log.lines(4), log.write("request", **received), log.write(version="v")]


@pytest.fixture
def file(tmp_path: Path, lines: list[bytes]) -> Path:
    """The log as a file."""
    return written(tmp_path / "audit.log", lines)


def written(path: Path, lines: list[bytes]) -> Path:
    """A file of lines."""
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def run(*words: object, stdin: bytes | None = None) -> Result:
    """Run ``audit`` with these arguments."""
    return CliRunner().invoke(app, ["audit", *map(str, words)], input=stdin)


def test_a_sound_log(file: Path, lines: list[bytes]) -> None:
    """A sound log gives exit code 0 and prints the chain's head, which --expect accepts."""
    result = run("verify", file)
    head = f"{CHAIN}:6:{hashlib.sha256(lines[-1]).hexdigest()}"
    assert result.exit_code == 0
    assert result.stdout.startswith(head)
    assert run("verify", file, "--expect", head).exit_code == 0


def test_a_tampered_line_is_named(file: Path) -> None:
    """Each changed line is reported with its file on a line of its own, and the exit code is 1."""
    file.write_bytes(file.read_bytes().replace(b'"v3"', b'"v9"'))
    result = run("verify", file)
    assert result.exit_code == 1
    assert (
        result.stdout.splitlines()[0] == f"{file} line 3 was changed: {file} line 4 carries the hash of another text."
    )
    assert result.stderr == "Error: 1 fault found; the log differs from what was written.\n"


def test_json_says_the_same(file: Path) -> None:
    """--json prints findings and chains as JSON lines."""
    file.write_bytes(file.read_bytes().replace(b'"v3"', b'"v9"'))
    fault, chain = map(json.loads, run("verify", file, "--json").stdout.splitlines())
    assert "line 3 was changed" in fault["fault"]
    assert (chain["chain"]["lines"], chain["chain"]["head"][:17]) == (6, f"{CHAIN}:")


def test_several_files_and_forms(tmp_path: Path, lines: list[bytes]) -> None:
    """A rotated, compressed file, a plain one and standard input are read one after another."""
    packed = tmp_path / "audit.log.1.gz"
    packed.write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines[:2])))
    plain = written(tmp_path / "audit.log", lines[2:4])
    rest = b"".join(line + b"\n" for line in lines[4:])
    assert run("verify", packed, plain, "-", stdin=rest).exit_code == 0
    assert run("verify", plain, packed, "-", stdin=rest).exit_code == 1
    assert run("verify", packed, plain, "-", stdin=gzip.compress(rest)).exit_code == 0


def test_a_missing_head_is_reported(file: Path) -> None:
    """A head beyond the end of the log, and one of a missing chain, are faults."""
    for head in (f"{CHAIN}:9:{'0' * 64}", f"{'b' * 16}:1:{'0' * 64}"):
        assert run("verify", file, "--expect", head).exit_code == 1


@pytest.mark.parametrize("head", ["", "5", f"{CHAIN}:0:{'0' * 64}", f"{CHAIN}:x:{'0' * 64}", f"{CHAIN}:5:{'0' * 63}"])
def test_a_malformed_head_is_refused(file: Path, head: str) -> None:
    """A head in any other form is a usage error."""
    result = run("verify", file, "--expect", head)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)


def test_a_log_without_a_chain_proves_nothing(tmp_path: Path) -> None:
    """A file without a chain is not sound, but the answer is that it has none, and not that lines were changed."""
    file = written(tmp_path / "audit.log", [b'{"audit":1}', b'{"audit":1}'])
    for words in ((), ("--mixed",), ("--json",)):
        result = run("verify", file, *words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: The log has no hash chain, so it cannot be verified;")
    assert "is missing" in run("verify", file, "--expect", f"{CHAIN}:1:{'0' * 64}").stdout


@pytest.mark.parametrize("content", [None, gzip.compress(b"x" * 1000)[:-9]], ids=["none", "cut gzip"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    """A missing or damaged file ends the command with one sentence that names it."""
    file = tmp_path / "audit.log.gz"
    if content is not None:
        file.write_bytes(content)
    for words in (("verify", file), ("trace", "--token-sha256", SHA256, file)):
        result = run(*words)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert str(file) in result.stderr


@pytest.mark.parametrize("digits", [SHA256, SHA256[:16]])
def test_a_receiver_is_listed(file: Path, digits: str) -> None:
    """Each receiver is listed with org, credential, endpoint, tier, times and request ids."""
    result = run("trace", "--token-sha256", digits, file)
    assert result.exit_code == 0
    for word in ("journey", ORG, "default", "/headers", "shared", "1 times", "id-1", "Looked in 6 audit lines"):
        assert word in result.stdout


def test_a_leaked_token_is_hashed_and_not_printed(file: Path) -> None:
    """--token-stdin reads the token itself, with an editor's final newline, and never prints it."""
    result = run("trace", "--token-stdin", "--json", file, stdin=f"{TOKEN}\n".encode())
    found = json.loads(result.stdout)
    assert (found["token_sha256"], found["receivers"][0]["caller"]) == (SHA256[:16], "journey")
    assert TOKEN not in result.output


def test_no_receiver_is_found(file: Path) -> None:
    """If no receiver is found, the answer says so and names the period that was searched."""
    result = run("trace", "--token-sha256", "0" * 64, file)
    assert result.exit_code == 1
    assert "6 audit lines from 2030-03-17T17:46:40.250Z to 2030-03-17T17:46:40.250Z" in result.stderr
    assert json.loads(run("trace", "--token-sha256", "0" * 64, file, "--json").stdout)["receivers"] == []


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--token-sha256", "xyz"),
        ("--token-sha256", "0" * 15),
        ("--token-sha256", "0" * 65),
        ("--token-sha256", SHA256, "--token-stdin"),
    ],
)
def test_a_malformed_digest_is_refused(file: Path, words: tuple[str, ...]) -> None:
    """Malformed hex, no token, and a token given in two ways each give one sentence and exit code 2."""
    result = run("trace", *words, file)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)


def test_standard_input_is_the_token_or_a_log(file: Path) -> None:
    """Standard input cannot be both the token and a log, and empty input is not a token."""
    assert run("trace", "--token-stdin", file, "-", stdin=b"x").exit_code == 2
    assert run("trace", "--token-stdin", file, stdin=b"\n").exit_code == 2


def test_many_findings_are_counted(tmp_path: Path, lines: list[bytes]) -> None:
    """Too many findings do not fill the screen: the first are printed, the others counted."""
    file = written(tmp_path / "audit.log", [*lines, *([b"x"] * 1500)])
    result = run("verify", file)
    assert "500 more findings are not shown." in result.stdout
    assert len(result.stdout.splitlines()) < 1010
    assert "1500 faults" in result.stderr
