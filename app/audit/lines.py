"""Reads lines of collected audit logs: plain, or as a container runtime wraps them. No I/O: lines come as bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from typing_extensions import override

MAX_LINE = 1 << 20
"""Bytes of the longest line that is read as one."""

_CRI = re.compile(rb"\S{10,40} (stdout|stderr) ([FP])(?: |$)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line is: the file as it was named, and the line's number in it, from 1."""

    file: str
    number: int

    @override
    def __str__(self) -> str:
        return f"{self.file} line {self.number}"


@dataclass(frozen=True, slots=True)
class AuditLine:
    """A line of a log.

    Args:
        place: Where the line ends.
        text: The line as the broker wrote it, without the newline and the container runtime's wrapping.
        whole: False for the last line of a file if it has no newline.

    """

    place: Place
    text: bytes
    whole: bool = True

    def record(self) -> dict[str, object] | None:
        """The line as a JSON object, or None if it is not one."""
        try:
            parsed = json.loads(self.text)
        except (ValueError, RecursionError):
            return None
        return parsed if isinstance(parsed, dict) else None


def unwrapped(file: str, lines: Iterable[bytes]) -> Iterator[AuditLine]:
    """The lines of a file, unwrapped from CRI (partial lines joined) or Docker's json-file, without standard error.

    Args:
        file: Its name in findings.
        lines: Its lines, with their newlines.

    """
    parts: list[bytes] = []
    for number, raw in enumerate(lines, 1):
        whole = raw.endswith(b"\n")
        line = raw[:-1] if whole else raw
        if line.startswith(b'{"log":'):
            found = _docker(line)
        elif not line.startswith(b"{") and (wrapping := _CRI.match(line)):
            found = _cri(line, wrapping, parts)
        else:
            found = line
        if found is not None:
            yield AuditLine(Place(file, number), found, whole)


def _cri(line: bytes, wrapping: re.Match[bytes], parts: list[bytes]) -> bytes | None:
    if wrapping[1] == b"stderr":
        return None
    parts.append(line[wrapping.end() :])
    if wrapping[2] == b"P" and sum(map(len, parts)) <= MAX_LINE:
        return None
    joined = b"".join(parts)
    parts.clear()
    return joined


def _docker(line: bytes) -> bytes | None:
    record = AuditLine(Place("", 0), line).record()
    log = None if record is None else record.get("log")
    if record is None or not isinstance(log, str) or "stream" not in record:
        return line
    return None if record["stream"] == "stderr" else log.removesuffix("\n").encode(errors="surrogatepass")
