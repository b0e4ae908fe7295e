"""The report of a bulk import, and its progress."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli.bulk_progress import PlainProgress
from app.cli.failure import CommandError
from app.cli.import_report import open_report
from app.domain.stored_document import Version
from app.lifecycle.import_credential import ImportOutcome
from app.lifecycle.import_many import ItemResult
from tests.fakes import ManualClock
from tests.support.documents import ref_of

DIGEST, OTHER = "1" * 64, "2" * 64


def result(outcome: ImportOutcome = ImportOutcome.CREATED, digest: str = DIGEST) -> ItemResult:
    """A result of the input `a`."""
    return ItemResult("a", digest, outcome, ref_of(1), Version("1"))


async def test_a_report_has_one_line_per_input(tmp_path: Path) -> None:
    """Each line is an object with the input, its digest, the credential and the outcome; only its owner can read it."""
    path = tmp_path / "report"
    with open_report(path) as report:
        await report.record(result())
        await report.record(
            ItemResult("b", OTHER, ImportOutcome.FAILED, None, None, "unusable_file", "The file is bad.")
        )

    first, second = map(json.loads, path.read_text().splitlines())
    assert list(first) == ["item", "input_sha256", "org", "credential", "outcome", "version", "code", "error"]
    assert (first["item"], first["outcome"], first["version"], first["org"]) == ("a", "created", "1", ref_of(1).org)
    assert (second["outcome"], second["org"], second["error"]) == ("failed", None, "The file is bad.")
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_run_resumes_from_the_report(tmp_path: Path) -> None:
    """An input that was imported is done, unless its content has changed since; one that failed is not done."""
    path = tmp_path / "report"
    with open_report(path) as report:
        assert report.imported("a", DIGEST) is None
        await report.record(result())
    with open_report(path) as report:
        assert report.imported("a", DIGEST) == ref_of(1)
        assert report.imported("a", OTHER) is None
        await report.record(result(ImportOutcome.FAILED, OTHER))
    with open_report(path) as report:
        assert report.imported("a", DIGEST) is None


@pytest.mark.parametrize("outcome", [ImportOutcome.WOULD_CREATE, ImportOutcome.WOULD_REPLACE, ImportOutcome.FAILED])
async def test_a_dry_run_is_not_done(tmp_path: Path, outcome: ImportOutcome) -> None:
    """What a dry run would have done, and what failed, is still to be done."""
    with open_report(tmp_path / "report") as report:
        await report.record(result(outcome))
    with open_report(tmp_path / "report") as report:
        assert report.imported("a", DIGEST) is None


@pytest.mark.parametrize("length", range(1, 40, 6))
async def test_a_line_that_a_killed_run_began_is_dropped(tmp_path: Path, length: int) -> None:
    """A report whose last line is incomplete can be used, and stays one line per input."""
    path = tmp_path / "report"
    with open_report(path) as report:
        await report.record(result())
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:length])
    with open_report(path) as report:
        assert report.imported("a", DIGEST) == ref_of(1)
        await report.record(result())
    assert path.read_bytes() == whole * 2


OTHER_FILES = [
    b'{"client_id": "a"}\n',
    b"not JSON\n",
    b"[1]\n",
    b"a document without line ends",
    b'{"item": "a", "input_sha256": "1", "org": "no org id", "credential": "default", "outcome": "created"}\n',
]


@pytest.mark.parametrize("content", OTHER_FILES)
def test_another_file_is_not_overwritten(tmp_path: Path, content: bytes) -> None:
    """A file that is not a report is refused, and stays as it was."""
    path = tmp_path / "orgs.jsonl"
    path.write_bytes(content)

    with pytest.raises(CommandError, match="is not a report of an import"), open_report(path):
        pass
    assert path.read_bytes() == content


def test_two_runs_do_not_share_a_report(tmp_path: Path) -> None:
    """A second run with the same report is refused while the first one runs."""
    with (
        open_report(tmp_path / "report"),
        pytest.raises(CommandError, match="is in use by another import"),
        open_report(tmp_path / "report"),
    ):
        pass


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    """A report in a folder that does not exist is refused before anything is done."""
    with pytest.raises(CommandError, match="cannot be used as a report"), open_report(tmp_path / "no" / "report"):
        pass


def test_progress_without_a_terminal_is_a_line_every_five_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal, standard error gets a line every five seconds: counts, rate and remaining time."""
    clock = ManualClock(0.0)
    progress = PlainProgress(100, clock)
    for _ in range(20):
        clock.advance(0.5)
        progress("created")
    said = capsys.readouterr()

    assert said.out == ""
    assert said.err.splitlines() == [
        "10 of 100: 10 created; 2/s, about 45 s left",
        "20 of 100: 20 created; 2/s, about 40 s left",
    ]
