"""The configuration files that a document shows, as files: what is tested is what is written down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_BLOCK = re.compile(r"<!-- file: (\S+) -->\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def documented_files(document: Path) -> dict[str, str]:
    """By name, the fenced blocks that follow a line ``<!-- file: NAME -->``."""
    blocks = _BLOCK.findall(document.read_text())
    files = dict(blocks)
    assert len(files) == len(blocks) > 0, "a file is shown twice, or none is"
    return files


def write_files(files: Mapping[str, str], folder: Path, real: Mapping[str, str]) -> None:
    """Write files with the document's placeholders replaced by real values; each placeholder must be in use."""
    unused = [placeholder for placeholder in real if not any(placeholder in text for text in files.values())]
    assert unused == [], "the document has other placeholders than the tests replace"
    for name, text in files.items():
        for placeholder, value in real.items():
            text = text.replace(placeholder, value)
        (folder / name).write_text(text)
