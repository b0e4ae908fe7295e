"""Imports many credentials, a few at a time. Each is proven and written as one alone; the others go on if it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from types import MappingProxyType

from app.domain.adobe_import import ImportFileError
from app.domain.dependency_errors import CredentialStoreError, DependencyError
from app.domain.errors import BrokerError
from app.domain.import_file import ImportInput
from app.domain.names import CredentialRef
from app.domain.stored_document import Version
from app.lifecycle.import_credential import WRITES, Importer, ImportOutcome, PreparedImport
from app.lifecycle.in_parallel import in_parallel

ATTEMPTS = 4
"""How often IMS is asked for one credential while it is unavailable or throttles."""

LONGEST_PAUSE = 60.0
"""Seconds between two attempts, whatever IMS asks for."""

MAX_STORE_FAILURES = 16
"""Failures of the store in a row after which the rest is not tried."""

UNUSABLE, NOT_REPLACED, DUPLICATE = "unusable_file", "not_replaced", "duplicate"
"""Codes of failures that are not errors of the broker."""


@dataclass(frozen=True, slots=True)
class ImportItem:
    """One of many inputs.

    Args:
        name: Its name in the report, the same in each run.
        digest: The SHA-256 of everything that is read, in hex.
        read: Parses it; raises `ImportFileError`.

    """

    name: str
    digest: str
    read: Callable[[], ImportInput] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of an input.

    Args:
        item: Its name.
        digest: Its digest.
        outcome: How it ended.
        ref: The credential; None if the input could not be used.
        version: The version that was written, or None.
        code: Why it failed, as a word; None if it did not.
        error: Why it failed, as a sentence.

    """

    item: str
    digest: str
    outcome: ImportOutcome
    ref: CredentialRef | None = None
    version: Version | None = None
    code: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class BulkRules:
    """How many credentials are imported.

    Args:
        parallel: How many at a time.
        replace: Whether a different credential that is stored may be replaced.
        dry_run: Whether nothing is written.

    """

    parallel: int = 8
    replace: bool = False
    dry_run: bool = False


class BulkImport:
    """One run over many inputs.

    Args:
        importer: Imports one credential.
        rules: How to import.
        record: Keeps a result for the next run; an input counts as done only afterwards.
        taken: The credentials of inputs that an earlier run imported, and the names of these inputs. Another input for
            such a credential is a duplicate.
        sleep: Waits for some seconds.

    """

    def __init__(
        self,
        importer: Importer,
        rules: BulkRules,
        record: Callable[[ItemResult], Awaitable[None]],
        taken: Mapping[CredentialRef, str] = MappingProxyType({}),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._importer = importer
        self._rules = rules
        self._record = record
        self._sleep = sleep
        self._taken = dict(taken)
        self._store_failures = 0

    async def run(self, items: Iterable[ImportItem]) -> bool:
        """Import all `items`; False if the store failed so often that the rest was not tried."""
        remaining = takewhile(lambda _item: not self._is_stopped, items)
        await in_parallel(remaining, self._imported_and_recorded, self._rules.parallel)
        return not self._is_stopped

    async def _imported_and_recorded(self, item: ImportItem) -> None:
        await self._record(await self._result(item))

    @property
    def _is_stopped(self) -> bool:
        return self._store_failures >= MAX_STORE_FAILURES

    async def _result(self, item: ImportItem) -> ItemResult:
        try:
            given = item.read()
        except ImportFileError as error:
            return _failed(item, None, UNUSABLE, f"The file {error}.")
        first = self._taken.setdefault(given.ref, item.name)
        if first != item.name:
            return _failed(item, given.ref, DUPLICATE, f"The same org and credential as {first}.")
        try:
            result = await self._imported(item, given)
        except ImportFileError as error:
            return _failed(item, given.ref, UNUSABLE, f"The file {error}.")
        except BrokerError as error:
            self._store_failures = self._store_failures + 1 if isinstance(error, CredentialStoreError) else 0
            return _failed(item, given.ref, error.code, error.detail)
        self._store_failures = 0
        return result

    async def _imported(self, item: ImportItem, given: ImportInput) -> ItemResult:
        prepared = await self._prepared(given)
        outcome = prepared.planned(dry_run=self._rules.dry_run)
        if outcome is ImportOutcome.REPLACED and not self._rules.replace:
            return _failed(item, given.ref, NOT_REPLACED, "A different credential is stored; --yes replaces it.")
        version = await self._importer.apply(prepared) if outcome in WRITES else None
        return ItemResult(item.name, item.digest, outcome, given.ref, version)

    async def _prepared(self, given: ImportInput) -> PreparedImport:
        """The prepared import; IMS is asked again while it cannot answer."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._importer.prepare(given)
            except DependencyError as error:
                if isinstance(error, CredentialStoreError) or attempt == ATTEMPTS:
                    raise
                pause = error.retry_after
            await self._sleep(min(pause, LONGEST_PAUSE))
        raise AssertionError("unreachable")


def _failed(item: ImportItem, ref: CredentialRef | None, code: str, error: str) -> ItemResult:
    return ItemResult(item.name, item.digest, ImportOutcome.FAILED, ref, None, code, error)
