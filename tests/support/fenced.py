"""What the documents show in fenced blocks, so that what a reader would paste is what the tests use."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from tests.support.repository import ROOT

_SHOWN = re.compile(r"^<!-- (block|file): (\S+) -->\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fenced(document: str, name: str) -> str:
    """The text of the block that follows ``<!-- block: NAME -->`` in a file below ``docs``."""
    return _shown(document, "block")[name]


def documented_files(document: str) -> dict[str, str]:
    """By name, the configuration files that follow a line ``<!-- file: NAME -->`` in a file below ``docs``."""
    return _shown(document, "file")


def vault_write(document: str, block: str, path: str) -> dict[str, str]:
    """The fields of the line ``vault write PATH name=value …`` in a block."""
    lines = map(shlex.split, fenced(document, block).splitlines())
    [words] = [words for words in lines if words[2:3] == [path]]
    return {name: value for name, _, value in (word.partition("=") for word in words[3:])}


def write_files(files: Mapping[str, str], folder: Path, real: Mapping[str, str]) -> None:
    """Write files with the document's placeholders replaced by real values; each placeholder must be in use."""
    unused = [placeholder for placeholder in real if not any(placeholder in text for text in files.values())]
    assert unused == [], "the document has other placeholders than the tests replace"
    for name, text in files.items():
        for placeholder, value in real.items():
            text = text.replace(placeholder, value)
        (folder / name).write_text(text)


def _shown(document: str, kind: str) -> dict[str, str]:
    found = _SHOWN.findall((ROOT / "docs" / document).read_text())
    blocks = [(name, text) for what, name, text in found if what == kind]
    assert len(dict(blocks)) == len(blocks) > 0, f"docs/{document} shows a {kind} twice, or none at all"
    return dict(blocks)
