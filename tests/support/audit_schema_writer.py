"""Writes the lists of endpoints, outcomes and reasons of `docs/audit.schema.json` from the code.

python -m tests.support.audit_schema_writer
"""

from __future__ import annotations

import asyncio
import json
import re
import textwrap
from collections.abc import Iterable

from app.api.problems import PROBLEMS
from app.domain.decision import DONE, VENDED
from app.domain.errors import BrokerError
from app.domain.refusal_reason import RefusalReason
from tests.support.api_in_memory import ApiInMemory
from tests.support.repository import ROOT

FILE = ROOT / "docs" / "audit.schema.json"


def endpoints() -> list[str]:
    """The paths that need a credential, and the one that stands for what was refused before its path counted."""
    document = asyncio.run(ApiInMemory().get("/openapi.json", caller=None)).json
    return [
        *(path for path, methods in document["paths"].items() if any("security" in m for m in methods.values())),
        "*",
    ]


def outcomes() -> list[str]:
    """The two ways to succeed, and the codes of all errors."""
    codes = [VENDED, DONE, *(error.code for error in PROBLEMS), BrokerError.code]
    return list(dict.fromkeys(codes))


def written(schema: str) -> str:
    """The schema with the lists as the code has them."""
    listed = ", ".join(json.dumps(path) for path in endpoints())
    schema = re.sub(r'("endpoint": \{ "enum": \[)[^]]*', lambda found: found[1] + listed, schema)
    for member, values in (("outcome", outcomes()), ("reason", [*RefusalReason])):
        schema = _listed(schema, member, values)
    return schema


def _listed(schema: str, member: str, values: Iterable[str]) -> str:
    pattern = rf'("{member}": \{{\s*"enum": \[)[^]]*?(\s*\])'
    return re.sub(pattern, lambda found: f"{found[1]}{_lines(values)}{found[2]}", schema)


def _lines(values: Iterable[str]) -> str:
    text = textwrap.fill(", ".join(json.dumps(value) for value in values), 112, break_long_words=False)
    return "\n" + textwrap.indent(text, " " * 12)


def main() -> None:
    """Rewrite the schema."""
    FILE.write_text(written(FILE.read_text()))
    print(f"Wrote the lists of endpoints, outcomes and reasons into {FILE.name}")


if __name__ == "__main__":
    main()
