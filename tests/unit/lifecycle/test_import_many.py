"""Many imports: bounded, independent of each other, and each recorded before it counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from app.domain.adobe_import import ImportFileError
from app.domain.dependency_errors import CredentialStoreError, ImsUnavailableError
from app.domain.import_file import ImportInput
from app.domain.names import CredentialRef
from app.domain.tenant_errors import CredentialRejectedError
from app.lifecycle.import_many import ATTEMPTS, MAX_STORE_FAILURES, BulkImport, BulkRules, ImportItem, ItemResult
from tests.support.documents import CANARY, oauth_document, ref_of
from tests.support.import_bench import ImportBench

RULES = BulkRules(parallel=3)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[ImportBench]:
    """A bench on an empty directory."""
    made = ImportBench(tmp_path)
    yield made
    await made.aclose()


def item(number: int, name: str | None = None, **changes: object) -> ImportItem:
    """An input with the document of an org of its own."""
    ref = ref_of(number)
    given = ImportInput("a document", ref, oauth_document(ref, **changes), whole=True)
    return ImportItem(name or f"item {number}", f"{number:064x}", lambda: given)


class BulkRun:
    """Runs of a bulk import, with what they recorded and for how long they slept."""

    def __init__(self, bench: ImportBench) -> None:
        self.bench = bench
        self.results: list[ItemResult] = []
        self.pauses: list[float] = []

    async def run(
        self, *items: ImportItem, rules: BulkRules = RULES, taken: Mapping[CredentialRef, str] | None = None
    ) -> dict[str, str | None]:
        """The outcome of each input, or the code of its failure."""

        async def record(result: ItemResult) -> None:
            self.results.append(result)

        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        self.finished = await BulkImport(self.bench.importer, rules, record, taken or {}, sleep).run(items)
        return {result.item: result.code or result.outcome.value for result in self.results}


@pytest.fixture
def bulk(bench: ImportBench) -> BulkRun:
    """A run into the bench."""
    return BulkRun(bench)


async def test_each_input_is_imported_and_recorded_once(bulk: BulkRun) -> None:
    """Every input has one result, and no more exchanges run at a time than allowed."""

    async def slow(_grant: object) -> None:
        await asyncio.sleep(0.005)

    bulk.bench.exchanger.before = slow
    outcomes = await bulk.run(*[item(number) for number in range(1, 21)])

    assert set(outcomes.values()) == {"created"}
    assert (len(outcomes), len(bulk.results), bulk.bench.documents.writes) == (20, 20, 20)
    assert bulk.bench.exchanger.most_at_once == RULES.parallel
    assert bulk.finished


async def test_a_failure_leaves_the_others_alone(bulk: BulkRun) -> None:
    """An unusable file, a refused credential and a defective document fail by themselves, each with its reason."""

    def unusable() -> ImportInput:
        raise ImportFileError("has no org id; give --org ORG")

    bulk.bench.exchanger.failures[ref_of(2).org] = CredentialRejectedError("invalid_client")
    items = [ImportItem("bad", "", unusable), item(1), item(2), item(3, client_secrets=[]), item(4)]
    outcomes = await bulk.run(*items)

    assert outcomes == {
        "bad": "unusable_file",
        "item 1": "created",
        "item 2": "credential_rejected",
        "item 3": "unusable_file",
        "item 4": "created",
    }
    assert CANARY not in repr(bulk.results)
    assert {result.error for result in bulk.results if result.item == "bad"} == {
        "The file has no org id; give --org ORG."
    }


async def test_ims_is_asked_again_after_the_time_that_it_named(bulk: BulkRun) -> None:
    """While IMS throttles, the import waits as long as IMS asks, at most a minute, and then succeeds."""
    exchanger, org = bulk.bench.exchanger, ref_of(1).org
    waits = [7.0, 600.0]
    exchanger.failures[org] = ImsUnavailableError("busy", waits[0], throttled=True)

    async def next_answer(_grant: object) -> None:
        if len(exchanger.grants) == 2:
            exchanger.failures[org] = ImsUnavailableError("busy", waits[1], throttled=True)
        elif len(exchanger.grants) == 3:
            del exchanger.failures[org]

    exchanger.before = next_answer
    assert await bulk.run(item(1)) == {"item 1": "created"}
    assert bulk.pauses == [7.0, 60.0]


async def test_ims_is_not_asked_forever(bulk: BulkRun) -> None:
    """After four attempts an input fails, and a later run may try again."""
    bulk.bench.exchanger.failures[ref_of(1).org] = ImsUnavailableError("away")

    assert await bulk.run(item(1)) == {"item 1": "ims_unavailable"}
    assert len(bulk.bench.exchanger.grants) == ATTEMPTS


async def test_the_same_credential_twice_in_one_run(bulk: BulkRun) -> None:
    """Of two inputs for one credential only one is imported, and the other one is named as its duplicate."""
    outcomes = await bulk.run(item(1), item(1, name="again", client_id="other"))

    assert sorted(map(str, outcomes.values())) == ["created", "duplicate"]
    assert bulk.bench.documents.writes == 1


async def test_the_same_credential_as_in_an_earlier_run(bulk: BulkRun) -> None:
    """An input for a credential that an earlier run imported from another input is a duplicate, even with `--yes`."""
    await bulk.run(item(1))
    taken = {ref_of(1): "item 1"}
    outcomes = await bulk.run(item(1, name="again", client_id="other"), rules=BulkRules(replace=True), taken=taken)

    assert outcomes["again"] == "duplicate"
    assert bulk.bench.documents.writes == 1


async def test_a_changed_input_replaces_what_it_imported(bulk: BulkRun) -> None:
    """An input that an earlier run imported, and that has changed since, replaces its own credential."""
    await bulk.run(item(1))
    changed = item(1, client_id="other")

    assert await bulk.run(changed, rules=BulkRules(replace=True), taken={ref_of(1): "item 1"}) == {"item 1": "replaced"}


async def test_a_different_credential_is_replaced_only_if_allowed(bulk: BulkRun) -> None:
    """A stored credential that differs is a failure, unless replacing is allowed; the same one is unchanged."""
    await bulk.run(item(1), item(2))
    changed = item(1, client_id="other")

    assert await bulk.run(changed, item(2)) == {"item 1": "not_replaced", "item 2": "unchanged"}
    assert (await bulk.run(changed, rules=BulkRules(replace=True)))["item 1"] == "replaced"


async def test_a_dry_run_writes_nothing(bulk: BulkRun) -> None:
    """A dry run proves each credential and writes none."""
    assert await bulk.run(item(1), rules=BulkRules(dry_run=True)) == {"item 1": "would_create"}
    assert (bulk.bench.documents.writes, len(bulk.bench.exchanger.grants)) == (0, 1)


async def test_a_store_that_is_away_ends_the_run(bulk: BulkRun) -> None:
    """After 16 failures of the store in a row, the rest is not tried, so that an outage is not 100,000 failures."""
    bulk.bench.documents.read_failure = CredentialStoreError("Vault is sealed or not initialised.")
    await bulk.run(*[item(number) for number in range(1, 101)])

    assert not bulk.finished
    assert MAX_STORE_FAILURES <= len(bulk.results) < MAX_STORE_FAILURES + RULES.parallel


async def test_what_was_not_recorded_does_not_count(bench: ImportBench) -> None:
    """An input is taken only after the result before it was recorded."""
    recorded = asyncio.Event()

    async def record(_result: ItemResult) -> None:
        await recorded.wait()

    run = asyncio.create_task(BulkImport(bench.importer, BulkRules(parallel=1), record).run([item(1), item(2)]))
    while bench.documents.writes == 0:  # noqa: ASYNC110  # the directory has no event for it
        await asyncio.sleep(0.001)
    assert len(bench.exchanger.grants) == 1
    recorded.set()
    assert await run
    assert bench.documents.writes == 2
