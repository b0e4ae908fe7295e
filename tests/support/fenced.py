"""The fenced blocks of the documents, so that what a reader would paste is what the tests use."""

from __future__ import annotations

import re
from pathlib import Path

_DOCS = Path(__file__).resolve().parents[2] / "docs"


def fenced(document: str, block: str) -> str:
    """The text of the fenced block that follows ``<!-- block: NAME -->`` in a file below ``docs``."""
    text = (_DOCS / document).read_text()
    [found] = re.findall(rf"^<!-- block: {re.escape(block)} -->\n```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)
