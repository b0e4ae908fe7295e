"""The policy file: read as a whole, compared by its content, decoded by a YAML reader that refuses ambiguous input.

A change is found by the content's hash, so that a ConfigMap's ``..data`` swap, a rename and an edit in place are the
same. New content counts only if a second read, a second later, finds the same: a file cut off in the middle of a rule
could allow more than the whole file does (without scopes, a rule means all scopes).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from app.adapters.policy_file.strict_yaml import decode_policy
from app.domain.plain_document import PolicyError, UnreadablePolicyError
from app.domain.policy import Policy
from app.domain.policy_document import parse_policy
from app.process.own_threads import OwnThreads, ThreadsBusyError
from app.process.regular_file import FileError, read_bytes
from app.process.renewed_file import Look, RenewedFile, StillChangingError, stable_content

MAX_POLICY_BYTES = 16 * 1024 * 1024
LOAD_DEADLINE = 60.0
"""Seconds after which a load gives up: a file system may hang, and 16 MiB take a while."""

_PLACE = "policy"
_SETTLE_SECONDS = 1.0
_FIRST_SETTLE_SECONDS = 0.05
"""At the start no policy is in force yet that could be used in the meantime."""

_WAITING = 4
"""Loads that may wait for the thread. The one that runs gives up at its deadline, and is followed by the next."""


def read_policy(path: Path) -> Policy:
    """Read and parse a policy file, now and in this thread.

    Raises:
        UnreadablePolicyError: The file is missing, or cannot be read.
        PolicyError: It is bad.

    """
    return _parse(_read(path))


class PolicyFile:
    """Implements `PolicySource`: a policy in a YAML file.

    A bad file raises at every call while it is bad, so that no caller can miss it; it is parsed only once. The caller
    that reports it compares the error with the last one. A file that turns bad and then back into the last good one
    is unchanged.

    Args:
        path: The file.
        sleep: Waits between two looks at new content, in the reading thread; seconds.

    """

    def __init__(self, path: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._path = path
        self._sleep = sleep
        # One look is enough: a look at new content reads it twice.
        self._file = RenewedFile[bytes](looks=1)
        self._is_first = True
        self._refusal = ("", "")
        self._threads = OwnThreads("policy-file", threads=1, waiting=_WAITING, deadline=LOAD_DEADLINE)

    async def load(self) -> Policy | None:
        """As `PolicySource.load`."""
        try:
            loaded = await self._threads.run(self._load)
        except (TimeoutError, ThreadsBusyError):
            raise PolicyError(_PLACE, f"could not be read within {LOAD_DEADLINE:.0f} s") from None
        if loaded is None:
            return None
        # Noted only now: a policy that no one waited for must be returned by the next call.
        policy, digest = loaded
        self._file.accept(digest)
        self._is_first = False
        return policy

    async def aclose(self) -> None:
        """Let the reading thread end; a read that hangs is not waited for."""
        self._threads.close()

    def _load(self) -> tuple[Policy, bytes] | None:
        content = _read(self._path)
        match self._file.look(_digest(content)):
            case Look.UNCHANGED | Look.RESTORED:
                return None
            case Look.REFUSED:
                raise PolicyError(*self._refusal)
            case Look.NEW | Look.CHANGING:
                return self._parsed(self._settled(content))

    def _settled(self, content: bytes) -> bytes:
        seconds = _FIRST_SETTLE_SECONDS if self._is_first else _SETTLE_SECONDS
        try:
            content, _ = stable_content(content, lambda: _read(self._path), lambda _: self._sleep(seconds))
        except StillChangingError:
            raise PolicyError(_PLACE, "is still being written") from None
        return content

    def _parsed(self, content: bytes) -> tuple[Policy, bytes]:
        digest = _digest(content)
        try:
            return _parse(content), digest
        except PolicyError as error:
            self._file.refuse(digest)
            self._refusal = error.place, error.expected
            raise


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, MAX_POLICY_BYTES)
    except FileError as error:
        raise UnreadablePolicyError(_PLACE, error.reason) from None


def _parse(content: bytes) -> Policy:
    return parse_policy(decode_policy(content), hashlib.sha256(content).hexdigest()[:12])
