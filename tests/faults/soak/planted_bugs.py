"""Bugs that are planted into real brokers, so that a soak must find them: at least one for each invariant.

They change the code of the broker's own process. `tests/simulation/test_planted_bugs.py` has those of the simulation.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.adapters.policy_file.source import PolicyFile
from app.adapters.redis.client import RedisClient
from app.api import tokens, warm_batch
from app.api.batch_items import Item, parse_items
from app.domain.access_token import AccessToken
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.errors import BrokerError
from app.domain.names import TokenKey
from app.domain.policy import Caller, Rule
from app.service.epochs import Epochs
from app.service.memory import TokenMemory
from app.service.shared_exchange import SharedExchange
from app.service.vend import TokenVendor
from app.shared_cache.key_ring import KeyRing
from tests.support.invariants import Invariant

STUBBORN_SECONDS = 25
DOWN_SECONDS = 1.0


@dataclass(frozen=True)
class PlantedBug:
    """A bug.

    Args:
        text: What is broken, as a sentence.
        violates: The invariant that a soak reports.
        plant: Breaks the code of this process.
        seconds: How long a soak takes to find it.

    """

    text: str
    violates: Invariant
    plant: Callable[[], None]
    seconds: float = 60.0


def _put(owner: object, name: str, value: object) -> None:
    setattr(owner, name, value)


def _one_token_for_all_orgs() -> None:
    _put(TokenKey, "__hash__", lambda self: hash(self.ref.name))
    _put(TokenKey, "__eq__", lambda self, other: self.ref.name == other.ref.name)


def _batch_is_answered_in_reverse() -> None:
    def reversed_items(body: bytes) -> tuple[Item, ...]:
        return parse_items(body)[::-1]

    for module in (tokens, warm_batch):
        _put(module, "parse_items", reversed_items)


def _everyone_is_allowed() -> None:
    _put(Caller, "rules_for", lambda _self, _ref: (Rule(orgs=None),))


def _policy_is_read_once() -> None:
    load, seen = PolicyFile.load, set[PolicyFile]()

    async def load_once(self: PolicyFile) -> Any:
        if self in seen:
            return None
        seen.add(self)
        return await load(self)

    _put(PolicyFile, "load", load_once)


def _expired_is_served() -> None:
    make = AccessToken.__post_init__

    def make_later(self: AccessToken) -> None:
        make(self)
        for name, seconds in (("refresh_at", 25.0), ("critical_from", 25.0), ("usable_until", 30.0)):
            object.__setattr__(self, name, self.expires_at + seconds)

    _put(AccessToken, "__post_init__", make_later)


def _purge_forgets_nothing() -> None:
    _put(TokenMemory, "drop", lambda _self, _ref: None)
    _put(Epochs, "allows", lambda _self, _token: True)


def _token_is_printed() -> None:
    put = TokenMemory.put

    def put_and_tell(self: TokenMemory, token: AccessToken, *args: Any, **options: Any) -> None:
        print(token.value, file=sys.stderr, flush=True)
        put(self, token, *args, **options)

    _put(TokenMemory, "put", put_and_tell)


def _redis_holds_plain_tokens() -> None:
    _put(KeyRing, "seal", lambda _self, _nonce, plain, _bound_to: plain)


def _cancellation_is_ignored() -> None:
    vend = TokenVendor.vend

    async def stubborn(self: TokenVendor, key: TokenKey, min_ttl: float = 0.0) -> Any:
        try:
            return await vend(self, key, min_ttl)
        except BrokerError:
            for _ in range(STUBBORN_SECONDS):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(1)
            raise

    _put(TokenVendor, "vend", stubborn)


def _descriptors_leak() -> None:
    put = TokenMemory.put

    def put_and_leak(self: TokenMemory, token: AccessToken, *args: Any, **options: Any) -> None:
        os.dup(0)
        put(self, token, *args, **options)

    _put(TokenMemory, "put", put_and_leak)


def _redis_down_is_an_error() -> None:
    failed, take, vend = RedisClient._failed, TokenVendor.take_usable, TokenVendor.vend
    last = [-math.inf]

    def is_down() -> bool:
        return time.monotonic() < last[0] + DOWN_SECONDS

    async def note(self: RedisClient, *args: Any) -> CacheUnavailableError:
        last[0] = time.monotonic()
        return await failed(self, *args)

    async def vend_with_redis(self: TokenVendor, *args: Any) -> Any:
        if is_down():
            raise CacheUnavailableError("Redis does not answer.")
        return await vend(self, *args)

    _put(RedisClient, "_failed", note)
    _put(TokenVendor, "take_usable", lambda self, key, now: None if is_down() else take(self, key, now))
    _put(TokenVendor, "vend", vend_with_redis)


def _no_token_is_kept() -> None:
    async def look(_self: SharedExchange, _key: TokenKey, _need: object, *, first: bool = False) -> None:
        del first

    _put(TokenVendor, "take_usable", lambda _self, _key, _now: None)
    _put(SharedExchange, "_look", look)


BUGS: Mapping[str, PlantedBug] = {
    "one_token_for_all_orgs": PlantedBug(
        "tokens are kept by the name of a credential, without its org", Invariant.I1, _one_token_for_all_orgs
    ),
    "batch_is_answered_in_reverse": PlantedBug(
        "the answers to `POST /tokens` are in reverse order", Invariant.I1, _batch_is_answered_in_reverse
    ),
    "everyone_is_allowed": PlantedBug("each rule allows everything", Invariant.I2, _everyone_is_allowed),
    "policy_is_read_once": PlantedBug(
        "a policy is not read again after its file has changed", Invariant.I2, _policy_is_read_once, 100.0
    ),
    "expired_is_served": PlantedBug(
        "a token is served for 30 s after its end, and not refreshed before", Invariant.I3, _expired_is_served, 100.0
    ),
    "purge_forgets_nothing": PlantedBug("a purge removes nothing from memory", Invariant.I3, _purge_forgets_nothing),
    "token_is_printed": PlantedBug("each new token is printed", Invariant.I5, _token_is_printed, 30.0),
    "redis_holds_plain_tokens": PlantedBug(
        "the cipher returns its input, so that Redis holds tokens in plain text",
        Invariant.I5,
        _redis_holds_plain_tokens,
        30.0,
    ),
    "cancellation_is_ignored": PlantedBug(
        "a request that failed ignores its deadline", Invariant.I6, _cancellation_is_ignored, 100.0
    ),
    "descriptors_leak": PlantedBug("each new token leaks a descriptor", Invariant.I7, _descriptors_leak, 320.0),
    "redis_down_is_an_error": PlantedBug(
        "requests fail while Redis does not answer", Invariant.I8, _redis_down_is_an_error, 100.0
    ),
    "no_token_is_kept": PlantedBug(
        "each request makes an exchange, whatever is in memory and in Redis", Invariant.I4, _no_token_is_kept, 100.0
    ),
}
