"""Each bug that is planted into the service code is found by some schedule, so the search can find bugs.

The bugs are those that brokers and caches of others have had; docs/track-record.md has their history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.domain.access_token import AccessToken
from app.domain.cache_entry import StoreOutcome
from app.domain.names import CredentialRef, TokenKey
from app.process.single_flight import SingleFlight
from app.service.epochs import Epochs
from app.service.lease_turn import Turn
from app.service.memory import TokenMemory
from app.service.purges import Purges
from app.service.shared_exchange import SharedExchange
from tests.simulation.schedule import run_schedule
from tests.simulation.simulated_redis import RedisConnection
from tests.support.invariants import InvariantError

SEEDS = 10_000
"""A few hundred schedules find each bug, except an expired token, which takes about 900."""

Plant = Callable[[pytest.MonkeyPatch], None]


def _purge_forgets_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TokenMemory, "drop", lambda _self, _ref: None)
    patch.setattr(Epochs, "allows", lambda _self, _token: True)


def _any_epoch_is_stored(patch: pytest.MonkeyPatch) -> None:
    def store(self: RedisConnection, token: AccessToken, replacing: AccessToken | None) -> StoreOutcome:
        del replacing
        self._state.tokens[token.key] = token
        return StoreOutcome.STORED

    patch.setattr(RedisConnection, "_store", store)
    patch.setattr(Epochs, "allows", lambda _self, _token: True)


def _expired_is_served(patch: pytest.MonkeyPatch) -> None:
    make = AccessToken.__post_init__

    def make_later(self: AccessToken) -> None:
        make(self)
        object.__setattr__(self, "usable_until", self.expires_at + 30.0)

    patch.setattr(AccessToken, "__post_init__", make_later)


def _cache_key_without_scopes(patch: pytest.MonkeyPatch) -> None:
    """Two sets of scopes share one token (Oathkeeper CVE-2021-32701, Duende CVE-2025-26620)."""
    patch.setattr(TokenKey, "__hash__", lambda self: hash(self.ref))
    patch.setattr(TokenKey, "__eq__", lambda self, other: self.ref == other.ref)


def _waiter_owns_the_call(patch: pytest.MonkeyPatch) -> None:
    """Cancelling one waiter fails the others."""

    async def unshielded(task: asyncio.Future[Any]) -> Any:
        return await task

    patch.setattr("app.process.single_flight.asyncio.shield", unshielded)


def _no_single_flight(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SingleFlight, "running", lambda _self, _key: None)


def _lease_for_everyone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RedisConnection, "_acquire", lambda _self, _key, _holder: True)


def _no_second_look(patch: pytest.MonkeyPatch) -> None:
    """A replica that got the lease exchanges without reading again."""
    look = SharedExchange._look

    async def first_only(self: SharedExchange, key: TokenKey, need: Any, *, first: bool = False) -> Any:
        return await look(self, key, need, first=first) if first else None

    patch.setattr(SharedExchange, "_look", first_only)


def _lease_is_never_released(patch: pytest.MonkeyPatch) -> None:
    """A lock of fixed life that is not given back (oauth2-proxy #3456).

    The server keeps it, because storing a token gives it back, too.
    """
    patch.setattr(RedisConnection, "_end_lease", lambda _self, _key, _holder: None)
    patch.setattr("app.service.shared_exchange.LONGEST_CALL_SECONDS", 3.0)
    patch.setattr(Turn, "may_exchange", property(lambda self: self is Turn.OURS))
    patch.setattr("tests.simulation.history.LONGEST_REQUEST", 3.0)


def _redis_down_is_an_error(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Turn, "may_exchange", property(lambda self: self is Turn.OURS))


def _owed_purge_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A purge that Redis could not record is neither sent later nor restored."""

    async def forget(self: Purges, ref: CredentialRef, *, in_background: bool) -> None:
        self._owed.pop(ref, None)

    async def compare_nothing(_self: Purges) -> None:
        return

    patch.setattr(Purges, "_publish_one", forget)
    patch.setattr(Purges, "_compare_all", compare_nothing)


def _loser_deletes_the_token(patch: pytest.MonkeyPatch) -> None:
    """A replica whose token is not stored removes the one that is there (mcp-context-forge #6300)."""
    store = RedisConnection._store

    def remove(self: RedisConnection, token: AccessToken, replacing: AccessToken | None) -> StoreOutcome:
        outcome = store(self, token, replacing)
        self._state.tokens.pop(token.key, None)
        return outcome

    patch.setattr(RedisConnection, "_store", remove)


def _report_has_no_limit(patch: pytest.MonkeyPatch) -> None:
    """Each report of the same token costs an exchange."""
    patch.setattr(RedisConnection, "_claim", lambda _self, _ref, _window: True)
    patch.setattr("app.service.replacements.Replacements.claim", lambda _self, _ref, _now: True)


PLANTED: tuple[tuple[Plant, str], ...] = (
    (_purge_forgets_nothing, "I3"),
    (_any_epoch_is_stored, "I3"),
    (_expired_is_served, "I3"),
    (_cache_key_without_scopes, "I1"),
    (_waiter_owns_the_call, "I"),
    (_no_single_flight, "I4"),
    (_lease_for_everyone, "I4"),
    (_no_second_look, "I4"),
    (_lease_is_never_released, "I"),
    (_redis_down_is_an_error, "I8"),
    (_owed_purge_is_forgotten, "I3"),
    (_loser_deletes_the_token, "I4"),
    (_report_has_no_limit, "I4"),
)
"""The bugs, and the invariant that they violate; ``I`` for any."""


def name_of(plant: Plant) -> str:
    """What documents call a bug."""
    return plant.__name__.strip("_")


@pytest.mark.parametrize(("plant", "found_as"), PLANTED, ids=lambda value: name_of(value) if callable(value) else None)
def test_a_planted_bug_is_found(plant: Plant, found_as: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some schedule violates an invariant because of it."""
    plant(monkeypatch)
    assert found_as in _first_violation()


def _first_violation() -> str:
    for seed in range(SEEDS):
        try:
            run_schedule(seed)
        except InvariantError as error:
            return str(error)
    return "no schedule found it"
