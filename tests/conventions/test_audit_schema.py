"""`docs/audit.md`, `docs/audit.schema.json` and the code agree about the audit log."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from app.adapters.audit_log import AuditLog
from app.api.problems import PROBLEMS
from app.domain import events
from app.domain.decision import DONE, VENDED, Decision, Tier
from app.domain.errors import BrokerError
from app.domain.policy import Action
from app.domain.refusal_reason import RefusalReason
from tests.factories import ORG, REF
from tests.support import audit_schema_writer
from tests.support.api_in_memory import ApiInMemory
from tests.support.audit_schema import SCHEMA, kinds, misfits
from tests.support.repository import ROOT
from tests.support.waiting import until

DOCUMENT = (ROOT / "docs" / "audit.md").read_text()
CHAIN = {"chain", "seq", "prev"}


def written(path: Path, *emitted: events.Event, chained: bool = False) -> list[dict[str, object]]:
    """The lines that the real log writes for events."""
    log = AuditLog(path, chained=chained)
    for event in emitted:
        log.emit(event)
    log.start()
    asyncio.run(log.aclose())
    return [json.loads(line) for line in path.read_text().splitlines()]


def every_decision() -> Iterator[Decision]:
    """Decisions with every outcome and every tier."""
    for code in {VENDED, DONE, BrokerError.code, *(error.code for error in PROBLEMS)}:
        yield Decision("/token", "vend", code)
    for tier in get_args(Tier):
        yield Decision("/token", "vend", "vended", "me", ORG, "default", "openid", "3", "0" * 64, tier)
    for reason in RefusalReason:
        yield Decision("/token", "vend", "unauthenticated", reason=reason)
    yield Decision("/token", "vend", "forbidden", "me", ORG, "default", audit_rule="callers[12].allow[0]")
    yield Decision("/token", "vend", VENDED, "me", ORG, "default", api_key_sha256="0f" * 32)


EVERYTHING: list[events.Event] = [
    *(events.RequestDecided(1.5, "id-1", decision) for decision in every_decision()),
    events.RequestDecided(1.5, "id-1", Decision("/token", "vend", VENDED), trace_id="4bf92f3577b34da6a3ce929d0e0e4736"),
    events.CredentialPurged(1.5, REF, 4, "local"),
    events.CredentialPurged(1.5, REF, 4, "remote"),
    events.PolicyLoaded(1.5, "0123456789ab"),
    events.PolicyRefused(1.5, "callers: must be a list"),
]


@pytest.mark.parametrize("chained", [False, True])
def test_every_written_line_fits_the_schema(tmp_path: Path, chained: bool) -> None:
    """Every kind of line, with each outcome, tier and reason, chained or not, validates against the closed schema."""
    records = written(tmp_path / "audit.log", *EVERYTHING, chained=chained)
    assert misfits(records) == []
    unchained = {"request", "purge", "policy_loaded", "policy_refused"}
    assert {record["event"] for record in records} == {
        *unchained,
        *({"chain_started", "chain_ended"} if chained else ()),
    }
    assert set(kinds()) == {*unchained, "chain_started", "chain_ended", "lines_lost"}


def test_a_report_of_lost_lines_fits_the_schema(tmp_path: Path) -> None:
    """A line that reports lost lines is valid, too."""
    path = tmp_path / "logs" / "audit.log"
    path.parent.mkdir()
    log = AuditLog(path, chained=True)
    log.start()
    asyncio.run(until(lambda: path.exists() and path.stat().st_size > 0))
    path.unlink()
    path.parent.rmdir()
    log.emit(events.PolicyLoaded(1.5, "lost"))
    asyncio.run(until(lambda: log.dropped == 1))
    path.parent.mkdir()
    asyncio.run(log.aclose())
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["event"] for record in records] == ["lines_lost", "chain_ended"]
    assert misfits(records) == []


async def test_every_endpoint_writes_lines_that_fit_the_schema(tmp_path: Path) -> None:
    """Requests to every endpoint, valid or not, from allowed and refused callers, write valid lines."""
    api = ApiInMemory()
    paths = (await api.ask("GET", "/openapi.json")).json["paths"]
    for caller in ("journey", "operator", "exporter", None):
        for method in ("GET", "POST", "DELETE"):
            for path in (*paths, "/nowhere"):
                for query in ("", f"?org={ORG}", "?org=%00", f"?org={ORG}&scope=openid"):
                    await api.ask(method, f"{path}{query}", caller=caller, body=b'{"token_sha256":"00"}')
    emitted = [event for event in api.sink.all if isinstance(event, events.RequestDecided)]
    records = await asyncio.to_thread(written, tmp_path / "audit.log", *emitted)
    assert misfits(records) == []
    assert {"vended", "done", "forbidden", "unauthenticated", "invalid_request"} <= {r["outcome"] for r in records}
    endpoints = {str(record["endpoint"]) for record in records}
    assert endpoints | {"*"} == set(kinds()["request"]["properties"]["endpoint"]["enum"])


def test_the_schema_is_closed() -> None:
    """No kind of event accepts an unknown field, and each requires its own, except chain, trace and refusal."""
    for event, kind in kinds().items():
        assert kind["additionalProperties"] is False, event
        assert set(kind["properties"]) - set(kind["required"]) <= {
            *CHAIN,
            "trace_id",
            *({"api_key_sha256", "reason", "audit_rule"} if event == "request" else ()),
        }, event
        record = dict.fromkeys(kind["properties"])
        assert misfits([{**record, "event": event, "unheard_of": 1}])


def test_the_schema_lists_exactly_what_the_code_has() -> None:
    """Fields, actions and outcomes of the schema are exactly those of the code."""
    request = kinds()["request"]["properties"]
    assert {field.name for field in fields(Decision)} - {"is_shared"} <= set(request)
    assert set(request["action"]["enum"]) == {*Action, None}
    assert set(request["tier"]["enum"]) == {*get_args(Tier), None}


def test_the_lists_of_the_schema_are_those_written_from_the_code() -> None:
    """`python -m tests.support.audit_schema_writer` would not change the schema."""
    text = audit_schema_writer.FILE.read_text()
    assert audit_schema_writer.written(text) == text
    assert audit_schema_writer.written(text.replace('"/orgs"', '"/gone"').replace('"done"', '"gone"')) == text


def test_the_document_explains_every_reason_in_the_order_of_the_code() -> None:
    """The table of `docs/audit.md` that explains refusals has a row for each reason, and no others."""
    table = DOCUMENT.partition("## Why a credential was refused")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [*RefusalReason]


def test_the_document_lists_what_the_schema_has() -> None:
    """The document's table has a row for every field of the schema and names all its events, and no others."""
    table = DOCUMENT.partition("## Fields")[2].partition("## Events")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", table, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"\w+", row)}
    assert documented == {name for kind in kinds().values() for name in kind["properties"]}
    listed = DOCUMENT.partition("## Events")[2].partition("## The hash chain")[0]
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", listed, re.MULTILINE)))) == set(kinds())
    assert SCHEMA["$defs"]["audit"]["const"] == 1
