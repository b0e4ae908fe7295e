"""Refusals of Vault that pass: they are repeated within the deadline of a call, and named if they last."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest

from app.adapters.vault import VaultConfig
from app.domain.dependency_errors import CredentialStoreError
from tests.support.http_stand_in import ReceivedRequest, Script, ScriptedReply, stand_in
from tests.support.vault_broker import FOUND, REF, broker_with, reads, store_at

BEHIND = ScriptedReply(412, {"errors": ["required index state not present"]})
THROTTLED = ScriptedReply(429, {"errors": ["request path is over its quota"]}, {"Retry-After": "1"})

PASSING = [
    (BEHIND, "does not have the newest data yet"),
    (ScriptedReply(400, {"errors": ["cannot write to readonly storage"]}), "node is read-only"),
    (ScriptedReply(400, {"errors": ["read only: forward to the active node"]}), "node is read-only"),
    (ScriptedReply(472), "disaster recovery secondary"),
    (ScriptedReply(473), "standby node"),
    (ScriptedReply(500, {"errors": ["local node not active but active cluster node not found"]}), "standby node"),
    (ScriptedReply(503, b"<html>no server is available</html>"), "no node that is ready"),
    (ScriptedReply(429, {"errors": ["request path is over its quota"]}), "limits the rate"),
]


def one_of(path: str, replies: Callable[[], ScriptedReply]) -> Script:
    """A Vault that answers what ends in `path` with one reply after the other, and anything else as `reads` does."""
    usual = reads(FOUND)
    return lambda seen: replies() if seen.path.endswith(path) else usual(seen)


@pytest.mark.parametrize(("reply", "sentence"), PASSING)
async def test_a_refusal_that_passes_is_not_seen(reply: ScriptedReply, sentence: str) -> None:
    """A read that Vault refuses twice for a moment succeeds at the third attempt."""
    replies = iter([reply, reply, FOUND])
    with stand_in(one_of("default", lambda: next(replies))) as vault:
        async with store_at(vault.url) as store:
            assert (await store.fetch(REF)).generation == "3"


@pytest.mark.parametrize(("reply", "sentence"), PASSING)
async def test_a_refusal_that_lasts_is_named(reply: ScriptedReply, sentence: str) -> None:
    """If it lasts, the call ends within its deadline with a sentence of its own, with growing pauses before that."""
    with stand_in(reads(reply)) as vault:
        async with store_at(vault.url, deadline=0.8) as store:
            started = time.monotonic()
            with pytest.raises(CredentialStoreError, match=sentence):
                await store.fetch(REF)
            assert time.monotonic() - started < 1.5
        assert 3 <= len([seen for seen in vault.seen if seen.path.endswith("default")]) <= 8


async def test_a_node_that_is_behind_is_not_blamed_on_the_address() -> None:
    """The sentence for 412 names no setting, because none is wrong."""
    with stand_in(reads(BEHIND)) as vault:
        async with store_at(vault.url, deadline=0.3) as store:
            with pytest.raises(CredentialStoreError) as caught:
                await store.fetch(REF)
    assert "BROKER_" not in caught.value.detail


async def test_retry_after_is_waited_for() -> None:
    """The next attempt comes after the time that Vault asks for, if the deadline allows it."""
    times: list[float] = []

    def script(seen: ReceivedRequest) -> ScriptedReply:
        times.append(time.monotonic())
        return THROTTLED if len(times) == 1 else FOUND

    with stand_in(one_of("default", lambda: script(ReceivedRequest("", "", {}, b"")))) as vault:
        async with store_at(vault.url) as store:
            await store.fetch(REF)
    assert len(times) == 2
    assert 0.9 < times[1] - times[0] < 3


@pytest.mark.parametrize(("asked", "passed_on"), [("30", 30.0), ("86400", 60.0), ("soon", 5.0), ("9" * 40, 5.0)])
async def test_a_long_retry_after_is_passed_on(asked: str, passed_on: float) -> None:
    """If Vault asks for more time than the call has, the error says so at once, with at most a minute."""
    throttled = ScriptedReply(429, {"errors": []}, {"Retry-After": asked})
    with stand_in(reads(throttled)) as vault:
        async with store_at(vault.url, deadline=0.8) as store:
            with pytest.raises(CredentialStoreError, match="limits the rate") as caught:
                await store.fetch(REF)
        reads_made = [seen for seen in vault.seen if seen.path.endswith("default")]
    assert caught.value.retry_after == passed_on
    assert (len(reads_made) == 1) == asked.isdigit() or len(asked) > 9


async def test_a_login_is_repeated_too() -> None:
    """A login that one node refuses for a moment is repeated, and each attempt is one event."""
    login = {"auth": {"client_token": "hvs.x", "lease_duration": 3600, "renewable": True}}
    replies = itertools.chain([BEHIND, ScriptedReply(473)], itertools.repeat(ScriptedReply(200, login)))
    with stand_in(one_of("auth/approle/login", lambda: next(replies))) as vault:
        config = VaultConfig(addr=vault.url, auth="approle", role_id="r", secret_id="s")
        async with broker_with(config) as broker:
            assert (await broker.store.fetch(REF)).generation == "3"
            assert broker.events.calls("login") == ["vault_unavailable", "vault_unavailable", "ok"]


async def test_a_hang_after_refusals_is_reported_as_the_refusal() -> None:
    """If a repeated attempt hangs until the deadline, the error names the refusal before it."""
    replies, closed = itertools.count(), threading.Event()

    def script() -> ScriptedReply:
        if next(replies):
            closed.wait(10)
        return BEHIND

    with stand_in(one_of("default", script)) as vault:
        async with store_at(vault.url, deadline=0.7) as store:
            with pytest.raises(CredentialStoreError, match="newest data"):
                await store.fetch(REF)
        closed.set()


async def test_a_sealed_vault_is_reported_at_once() -> None:
    """A seal is lifted by people, so a call does not wait for that."""
    with stand_in(reads(ScriptedReply(503, {"errors": ["Vault is sealed"]}))) as vault:
        async with store_at(vault.url) as store:
            with pytest.raises(CredentialStoreError, match="sealed"):
                await store.fetch(REF)
        assert len([seen for seen in vault.seen if seen.path.endswith("default")]) == 1
