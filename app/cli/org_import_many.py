"""``org import`` of a folder, or of a file with one credential per line."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from app.cli.bulk_progress import bulk_progress
from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.import_input import ImportMode
from app.cli.import_items import count_items, import_items
from app.cli.import_report import ImportReport, open_report
from app.cli.with_tools import with_tools
from app.domain.amount import amount

if TYPE_CHECKING:
    from app.bootstrap.credential_tools import CredentialTools
    from app.domain.import_options import ImportOptions
    from app.domain.names import CredentialName, CredentialRef
    from app.lifecycle.import_many import ImportItem, ItemResult

_SKIPPED = "already_done"
_NAMED = 10
"""How many inputs with the same error are named."""

_DEBUG_ID = re.compile(r" \(X-Debug-Id [^)]*\)")


def _words(outcome: str) -> str:
    return outcome.replace("_", " ")


class ImportTally:
    """What became of all inputs."""

    def __init__(self) -> None:
        self.outcomes = Counter[str]()
        self.failures: dict[tuple[str, str], list[str]] = {}

    def note(self, result: ItemResult) -> None:
        """Count a result; failures are counted by their sentence."""
        self.outcomes[result.outcome.value] += 1
        if result.code is not None:
            sentence = _DEBUG_ID.sub("", result.error or "")
            self.failures.setdefault((result.code, sentence), []).append(result.item)

    def as_object(self, seconds: float, report: Path | None) -> dict[str, object]:
        """The answer of ``--json``."""
        failures = [
            {"code": code, "error": error, "count": len(items), "items": sorted(items)[:_NAMED]}
            for (code, error), items in self._by_count()
        ]
        return {
            "items": self.outcomes.total(),
            "outcomes": dict(sorted(self.outcomes.items())),
            "failures": failures,
            "seconds": round(seconds, 1),
            "report": None if report is None else str(report),
        }

    def lines(self, seconds: float) -> Iterator[str]:
        """The answer for a person."""
        counts = ", ".join(f"{count} {_words(outcome)}" for outcome, count in sorted(self.outcomes.items()))
        total = self.outcomes.total()
        yield f"{amount(total, 'credential')} in {seconds:.0f} s ({total / max(seconds, 0.001):.0f}/s): {counts}."
        for (_, error), items in self._by_count():
            more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
            yield f"  {len(items)} failed: {error} ({', '.join(sorted(items)[:_NAMED])}{more})"

    def _by_count(self) -> list[tuple[tuple[str, str], list[str]]]:
        return sorted(self.failures.items(), key=lambda failure: -len(failure[1]))


def import_many(
    file: Path, name: CredentialName, options: ImportOptions, mode: ImportMode, report: Path | None, parallel: int
) -> None:
    """Import all credentials of `file`, and say what became of them.

    Raises:
        CommandError: It cannot be read, or one credential was not imported.

    """
    total = count_items(file)
    if not total:
        missing = "the folder has no .json file" if file.is_dir() else "the file is empty"
        raise CommandError(f"{file} has nothing to import: {missing}.", USAGE)
    begun, tally = time.monotonic(), ImportTally()
    with ExitStack() as stack:
        kept = None if report is None else stack.enter_context(open_report(report))
        advance = stack.enter_context(bulk_progress(total))

        async def record(result: ItemResult) -> None:
            if kept is not None:
                await kept.record(result)
            tally.note(result)
            advance(_words(result.outcome.value))

        # All inputs are read before the first one is imported: a new input may come before the one that was imported.
        taken = {} if kept is None else _taken(kept, import_items(file, name, options))

        def remaining() -> Iterator[ImportItem]:
            for item in import_items(file, name, options):
                if kept is not None and kept.imported(item.name, item.digest):
                    tally.outcomes[_SKIPPED] += 1
                    advance(_words(_SKIPPED))
                else:
                    yield item

        async def work(tools: CredentialTools) -> bool:
            from app.bootstrap.importing import importer
            from app.lifecycle.import_many import BulkImport, BulkRules

            rules = BulkRules(parallel, replace=mode.yes, dry_run=mode.dry_run)
            return await BulkImport(importer(tools, time.time), rules, record, taken).run(remaining())

        finished = with_tools(work)
    _tell(tally, time.monotonic() - begun, kept, mode)
    if not finished:
        raise CommandError("The credential store failed too often in a row, so the rest was not tried.", FAILED)
    if tally.failures:
        raise typer.Exit(FAILED)


def _taken(report: ImportReport, items: Iterator[ImportItem]) -> dict[CredentialRef, str]:
    """The credentials of the inputs that an earlier run imported, and the names of these inputs."""
    return {ref: item.name for item in items if (ref := report.imported(item.name, item.digest)) is not None}


def _tell(tally: ImportTally, seconds: float, report: ImportReport | None, mode: ImportMode) -> None:
    if mode.as_json:
        typer.echo(json.dumps(tally.as_object(seconds, None if report is None else report.path)))
        return
    for line in tally.lines(seconds):
        typer.echo(line)
