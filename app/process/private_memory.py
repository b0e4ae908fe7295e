"""Keeps this process's memory (keys, tokens) out of core dumps, and unreadable for other processes of its user."""

from __future__ import annotations

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4
"""See prctl(2). A process that is not dumpable dumps no core, and only root can read its memory and environment."""


def keep_memory_private() -> None:
    """Disable core dumps; on Linux, also let no other process of this user read memory, ``environ`` or open files.

    ssh-agent and gpg-agent do the same. The core size limit is for systems other than Linux, and for handlers to which
    the kernel pipes core dumps and which heed it (core(5)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # If a seccomp profile forbids it, the core limit still applies.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
