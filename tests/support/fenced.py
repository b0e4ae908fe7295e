"""The fenced blocks of the documents, so that what a reader would paste is what the tests use."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

_DOCS = Path(__file__).resolve().parents[2] / "docs"


def fenced(document: str, block: str) -> str:
    """The text of the fenced block that follows ``<!-- block: NAME -->`` in a file below ``docs``."""
    text = (_DOCS / document).read_text()
    [found] = re.findall(rf"^<!-- block: {re.escape(block)} -->\n```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def vault_write(document: str, block: str, path: str) -> dict[str, str]:
    """The fields of the line ``vault write PATH name=value …`` in a fenced block."""
    [words] = [words for words in map(shlex.split, fenced(document, block).splitlines()) if words[2:3] == [path]]
    return {name: value for name, _, value in (word.partition("=") for word in words[3:])}
