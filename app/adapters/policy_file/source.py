"""The policy file: read whole, noticed by its content, decoded by a YAML reader that refuses what could mislead.

A change is found by the content's hash, so that a ConfigMap's ``..data`` swap, a rename and an edit in place are all
alike. New content counts only after it was read twice alike, a second apart: a file cut off in the middle of a rule
could allow more than the whole one does (scopes left out mean all scopes).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.adapters.policy_file.strict_yaml import decode_policy
from app.domain.errors import PolicyError
from app.domain.policy import Policy
from app.domain.policy_document import parse_policy
from app.process.regular_file import FileError, read_bytes

MAX_FILE_BYTES = 16 * 1024 * 1024
LOAD_DEADLINE = 60.0
"""Seconds after which a load gives up: a file system may hang, and 16 MiB take a while."""

_PLACE = "policy"
_SETTLE_SECONDS = 1.0
_FIRST_SETTLE_SECONDS = 0.05
"""At the start nothing is in force yet that could go on meanwhile."""

_SETTLE_ROUNDS = 3


def read_policy(path: Path) -> Policy:
    """Read and parse a policy file, now and in this thread.

    Raises:
        PolicyError: The file is missing, unreadable or bad.

    """
    return _parse(_read(path))


class PolicyFile:
    """Implements `PolicySource`: a policy in a YAML file.

    A bad file raises at every call for as long as it is bad, so that no caller can miss it; it is parsed only once.
    Who reports compares the error with the last one. A file that turns bad and then back into the last good one is
    no change.

    Args:
        path: The file.
        sleep: Waits between two looks at new content, in the reading thread; seconds.

    """

    def __init__(self, path: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._path = path
        self._sleep = sleep
        self._accepted: bytes | None = None
        self._refused: tuple[bytes, PolicyError] | None = None
        # One thread of its own: the loop's default threads are few, and a slow file must not use them up.
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="policy-file")

    async def load(self) -> Policy | None:
        """As `PolicySource.load`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOAD_DEADLINE):
                loaded = await loop.run_in_executor(self._executor, self._load)
        except TimeoutError:
            raise PolicyError(_PLACE, f"could not be read within {LOAD_DEADLINE:.0f} s") from None
        if loaded is None:
            return None
        # Noted only now: a policy that nobody waited for any more must be handed out by the next call.
        policy, self._accepted = loaded
        return policy

    async def aclose(self) -> None:
        """Let the reading thread go; a read that hangs is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _load(self) -> tuple[Policy, bytes] | None:
        content = _read(self._path)
        digest = _digest(content)
        if digest == self._accepted:
            return None
        if self._refused is not None and self._refused[0] == digest:
            known = self._refused[1]
            raise PolicyError(known.place, known.expected)
        return self._parsed(self._settled(content))

    def _settled(self, content: bytes) -> bytes:
        seconds = _FIRST_SETTLE_SECONDS if self._accepted is None else _SETTLE_SECONDS
        for _ in range(_SETTLE_ROUNDS):
            self._sleep(seconds)
            again = _read(self._path)
            if again == content:
                return content
            content = again
        raise PolicyError(_PLACE, "is still being written")

    def _parsed(self, content: bytes) -> tuple[Policy, bytes]:
        digest = _digest(content)
        try:
            policy = _parse(content)
        except PolicyError as error:
            self._refused = (digest, PolicyError(error.place, error.expected))
            raise
        self._refused = None
        return policy, digest


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, MAX_FILE_BYTES)
    except FileError as error:
        raise PolicyError(_PLACE, error.reason) from None


def _parse(content: bytes) -> Policy:
    return parse_policy(decode_policy(content), hashlib.sha256(content).hexdigest()[:12])
