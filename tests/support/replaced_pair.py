"""A certificate and its key that are replaced one file at a time, while calls that read them go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.tls import IssuedCertificate
from tests.support.waiting import until


async def replace_under_load(
    call: Callable[[], Awaitable[object]], files: tuple[Path, Path], new: IssuedCertificate, *, key_first: bool
) -> None:
    """Write each file in two parts, with calls after each part; none after the last, which completes the pair.

    The first part ends within the own certificate: a chain that ends between two certificates is a pair already.

    Args:
        call: Called again and again, one call after the other.
        files: The certificate and the key.
        new: What to write.
        key_first: Whether the key is written before the certificate.

    Raises:
        Exception: What a call raised.

    """
    contents = list(zip(files, (new.chain, new.key), strict=True))
    if key_first:
        contents.reverse()
    *parts, (last, content) = [(file, text[:end]) for file, text in contents for end in (len(text) // 3, len(text))]
    done, stopping = 0, False

    async def keep_calling() -> None:
        nonlocal done
        while not stopping:
            await call()
            done += 1

    calls = asyncio.create_task(keep_calling())
    try:
        for file, part in parts:
            file.write_bytes(part)
            enough = done + 3  # the first of them may have begun before
            await until(lambda enough=enough: calls.done() or done >= enough)  # type: ignore[misc]
    finally:
        stopping = True
        await calls
    last.write_bytes(content)
