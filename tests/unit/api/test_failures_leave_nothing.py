"""Requests that fail leave nothing in memory, whoever shares or remembers their errors.

An error has a traceback, which has the frames of all functions that it passed. If one of them refers to the error, only
a collection of cycles frees both with all that the request had, and full ones are rare (`process/full_collections`).
"""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import Callable, Iterator

import pytest
from typing_extensions import override

from app.domain.credential import Credential
from app.domain.dependency_errors import CredentialStoreError, ImsUnavailableError
from app.domain.errors import BrokerError
from app.domain.grant import Grant
from app.domain.names import CredentialRef
from app.domain.tenant_errors import (
    BadUpstreamResponseError,
    CredentialMisconfiguredError,
    CredentialNotFoundError,
    CredentialRejectedError,
)
from tests.factories import ORG
from tests.support.api_in_memory import ApiInMemory
from tests.support.cycles import no_cycles_of_frames
from tests.support.replica_in_memory import ReplicaInMemory, World

ITEMS = json.dumps({"items": [{"org": ORG}] * 3}).encode()
OF_THE_STORE = [
    CredentialNotFoundError,
    lambda: CredentialMisconfiguredError("scopes", "a list"),
    lambda: CredentialStoreError("Vault does not answer."),
]
OF_IMS = [
    lambda: ImsUnavailableError("IMS does not answer."),
    lambda: ImsUnavailableError("IMS asked for a pause.", 2.0, throttled=True),
    lambda: BadUpstreamResponseError("no token"),
    lambda: CredentialRejectedError("invalid_client", secret_refused=True),
    lambda: CredentialRejectedError("invalid_scope"),
]

Make = Callable[[], BrokerError]


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """Only the last reference frees an object, and it is enough."""
    with no_cycles_of_frames():
        yield


class _Witness:
    """Is in memory as long as the frame that has it."""


class _Fault:
    """Raises errors.

    Args:
        make: Makes one.

    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._witnesses: list[weakref.ref[_Witness]] = []

    def strike(self) -> None:
        """Raise an error."""
        witness = _Witness()
        self._witnesses.append(weakref.ref(witness))
        raise self._make()

    def left(self) -> list[bool]:
        """For each error, whether it has left something in memory."""
        return [witness() is not None for witness in self._witnesses]


class _Unreadable(dict[CredentialRef, Credential]):
    """Documents that cannot be read."""

    def __init__(self, fault: _Fault) -> None:
        super().__init__()
        self._fault = fault

    @override
    def __contains__(self, _: object) -> bool:
        self._fault.strike()
        return False


async def _many_requests(api: ApiInMemory) -> None:
    for _ in range(5):
        await asyncio.gather(api.get(), api.get(), api.ask("POST", "/tokens", body=ITEMS))
        api.clock.advance(1.0)
    await api.replica.until_idle()


@pytest.mark.parametrize("make", OF_THE_STORE)
async def test_errors_of_the_store_leave_nothing(make: Make) -> None:
    """When requests have failed because of the store, no frame of theirs is left, although the error is remembered."""
    api, fault = ApiInMemory(), _Fault(make)
    api.world.store.documents = _Unreadable(fault)
    await _many_requests(api)

    assert set(fault.left()) == {False}


@pytest.mark.parametrize("make", OF_IMS)
async def test_errors_of_ims_leave_nothing(make: Make) -> None:
    """When requests have failed because of IMS, no frame of theirs is left, although the error is remembered."""
    api, fault = ApiInMemory(), _Fault(make)

    async def strike(_: Grant) -> None:
        fault.strike()

    api.world.exchanger.before = strike
    await _many_requests(api)

    assert set(fault.left()) == {False}


async def test_an_ims_that_does_not_answer_leaves_nothing() -> None:
    """When an exchange took too long, no frame of it is left, although its task has the error."""
    replica = ReplicaInMemory(World(), longest_seconds=0.05)
    replica.world.exchanger.calls(ORG).pause()
    [ended], _ = await asyncio.wait({asyncio.create_task(replica.vend())}, timeout=5.0)

    assert isinstance(ended.exception(), ImsUnavailableError)
