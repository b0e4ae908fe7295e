"""The way to the node of a cluster that owns a key.

redis-py's own cluster client is not used: it retries ten times, keeps one deadline per try, has no pool whose callers
wait, and forgets how to come back once all nodes were away (its issues 2555 and 4110). What the broker sends needs
little of it: each call has keys of one slot, and is a value that can be sent again elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, RedisError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.adapters.redis.commands import Command, answers_of, asked, performed
from app.adapters.redis.connections import NodePools, RedisAccess
from app.adapters.redis.slot_owners import SlotOwners, read_owners
from app.process.breaker import CircuitBreaker
from app.process.single_flight import SingleFlight
from app.settings.redis_address import Endpoint

TOPOLOGY_SECONDS = 1.0
"""To learn which node owns what; longer than a call, which then fails while the question goes on."""

_LOST = (RedisConnectionError, RedisTimeoutError, ClusterDownError, ReadOnlyError, OSError, EOFError)
_MAX_REDIRECTS = 12
_Answer = TypeVar("_Answer")
_PAUSE_SECONDS = 0.02
"""Before a call is made again whose keys are on two nodes, because their slot is being moved."""


class Cluster:
    """A `Route` to the nodes of a cluster.

    Args:
        access: How to connect to a node.
        endpoints: Nodes from which the others are learned, at the start and whenever all others are away.
        size: Connections to one node for calls at most.

    """

    def __init__(self, access: RedisAccess, endpoints: Sequence[Endpoint], size: int) -> None:
        self._access = access
        self._seeds = tuple(endpoints)
        self._size = size
        self._owners = SlotOwners()
        self._nodes: dict[Endpoint, NodePools] = {}
        self._breakers: dict[Endpoint | None, CircuitBreaker] = {}
        self._questions = SingleFlight[str, SlotOwners](name="redis-cluster")

    @property
    def circuit_is_open(self) -> bool:
        """See `Route.circuit_is_open`."""
        return any(breaker.is_open for breaker in self._breakers.values())

    def breaker(self, key: str) -> CircuitBreaker:
        """See `Route.breaker`. Each node has one, so that a node that is away costs the others nothing."""
        owner = self._owners.owner(key)
        return self._breakers.setdefault(owner, CircuitBreaker(time.monotonic))

    async def perform(
        self, key: str, commands: Sequence[Command], *, waiting: bool = False, divided: bool = False
    ) -> list[Any]:
        """See `Route.perform`. Follows slots that have moved or are being moved, one by one: some keys may be moved."""
        if len(commands) == 1:
            return [await self._follow(key, commands[0], waiting=waiting, divided=divided)]
        node = await self._owner(key)
        answers = await self._noting_loss(answers_of(self._redis(node, waiting=waiting), commands))
        for number, answer in enumerate(answers):
            if isinstance(answer, (AskError, TryAgainError)):
                answers[number] = await self._follow(key, commands[number], waiting=waiting)
            elif isinstance(answer, RedisError):
                raise answer
        return answers

    async def _follow(self, key: str, command: Command, *, waiting: bool = False, divided: bool = False) -> Any:
        """Send one command to the owner of `key`, or to where the nodes send it. The deadline is the caller's."""
        node, asking = await self._owner(key), False
        failure: RedisError = ClusterDownError("too many redirects")
        for _ in range(_MAX_REDIRECTS):
            redis = self._redis(node, waiting=waiting)
            try:
                if asking:
                    return await self._noting_loss(asked(redis, command))
                [answer] = await self._noting_loss(performed(redis, [command]))
                return answer
            except MovedError as error:
                node, asking = Endpoint(error.host or node.host, error.port), False
                self._owners.note(key, node)
                self._read_soon()
                failure = error
            except AskError as error:
                node, asking = Endpoint(error.host or node.host, error.port), True
                failure = error
            except TryAgainError as error:  # its keys are on two nodes until the slot has moved
                if divided:
                    raise
                node, asking = await self._owner(key), False
                failure = error
                await asyncio.sleep(_PAUSE_SECONDS)
        raise failure

    async def _owner(self, key: str) -> Endpoint:
        owner = self._owners.owner(key) or (await self._read()).owner(key)
        if owner is None:
            raise ClusterDownError("no node owns the slot")
        return owner

    async def _noting_loss(self, sending: Awaitable[_Answer]) -> _Answer:
        """Wait for an answer; if there is none, learn soon which nodes there are now."""
        try:
            return await sending
        except (*_LOST, asyncio.CancelledError):  # cancelled, as at a deadline, also means that the node may hang
            self._read_soon()
            raise

    async def values(self, names: Sequence[str]) -> list[bytes | None]:
        """See `Route.values`. One round trip per node; a key whose slot is elsewhere is asked for alone."""
        by_node = defaultdict[Endpoint | None, list[str]](list)
        for name in names:
            by_node[self._owners.owner(name)].append(name)
        found: dict[str, bytes | None] = {}
        for parts in await asyncio.gather(*(self._values_at(node, group) for node, group in by_node.items())):
            found |= parts
        return [found[name] for name in names]

    async def primaries(self) -> list[Endpoint]:
        """See `Route.primaries`."""
        return (await self._read()).primaries

    async def perform_at(self, endpoint: Endpoint, commands: Sequence[Command]) -> list[Any]:
        """See `Route.perform_at`."""
        return await performed(self._redis(endpoint), commands)

    def look(self) -> None:
        """See `Route.look`. Not needed: a node that owns a slot no longer says so."""

    async def leave(self) -> None:
        """See `Route.leave`."""
        self._read_soon()

    async def aclose(self) -> None:
        """See `Route.aclose`."""
        await self._questions.aclose(0)
        for pools in self._nodes.values():
            await pools.aclose()

    async def _values_at(self, node: Endpoint | None, names: Sequence[str]) -> dict[str, bytes | None]:
        commands: list[Command] = [("MGET", name) for name in names]
        try:
            if node is not None:
                answers = await self._noting_loss(performed(self._redis(node), commands))
                return {name: value for name, [value] in zip(names, answers, strict=True)}
        except AskError:
            self._read_soon()
        found: dict[str, bytes | None] = {}
        for name in names:
            [found[name]] = await self._follow(name, ("MGET", name))
        return found

    def _redis(self, endpoint: Endpoint, *, waiting: bool = False) -> Redis:
        pools = self._nodes.get(endpoint)
        if pools is None:
            pools = self._nodes[endpoint] = NodePools(self._access, endpoint, self._size)
        return pools.waits if waiting else pools.calls

    async def _read(self) -> SlotOwners:
        """The current map of the cluster. All that wait for it share one question."""
        return await self._questions.join("slots", self._question)

    def _read_soon(self) -> None:
        self._questions.start("slots", self._question)

    async def _question(self) -> SlotOwners:
        known = dict.fromkeys((*self._owners.primaries, *self._seeds))
        nodes = [(endpoint, self._redis(endpoint)) for endpoint in known]
        self._owners = await read_owners(nodes, TOPOLOGY_SECONDS)
        await self._forget_others({*self._owners.primaries, *self._seeds})
        return self._owners

    async def _forget_others(self, nodes: set[Endpoint]) -> None:
        for endpoint in self._nodes.keys() - nodes:
            await self._nodes.pop(endpoint).leave()
        for owner in self._breakers.keys() - nodes:
            del self._breakers[owner]
