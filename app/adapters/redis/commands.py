"""Commands as values, so that they can be sent again to another node, and after an ``ASKING``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

Command = tuple[bytes | str | int, ...]
"""Its name and its arguments."""


async def performed(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """Send commands in one round trip; their answers, in order. Not a transaction.

    Raises:
        RedisError: Of the first command that failed.

    """
    if len(commands) == 1:
        return [await redis.execute_command(*commands[0])]  # type: ignore[no-untyped-call]  # redis-py's
    answers = await answers_of(redis, commands)
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    return answers


async def answers_of(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """As `performed`, but the error of a command that the server refused is its answer."""
    async with redis.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return list(await pipeline.execute(raise_on_error=False))


async def asked(redis: Redis, command: Command) -> Any:
    """Send a command to a node that does not own its slot yet, and was named by an ``ASK``. Raises as `performed`."""
    return (await performed(redis, [("ASKING",), command]))[1]
