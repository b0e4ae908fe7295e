"""Works on many things, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_parallel(
    items: Iterable[Item],
    work: Callable[[Item], Awaitable[Result]],
    parallel: int,
    heard: Callable[[Result], None] = lambda _result: None,
) -> list[Result]:
    """The results, in the order in which they came.

    Args:
        items: What to work on.
        work: Works on one; an error stops all.
        parallel: How many at a time.
        heard: Gets each result as it comes.

    """
    remaining, results = iter(items), list[Result]()

    async def worker() -> None:
        # The workers share one iterator: each takes the next item.
        for item in remaining:
            result = await work(item)
            results.append(result)
            heard(result)

    async with asyncio.TaskGroup() as group:
        for _ in range(parallel):
            group.create_task(worker())
    return results
