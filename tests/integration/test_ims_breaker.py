"""An IMS host that is down costs three calls, and then one a second, however many ask."""

from __future__ import annotations

import pytest

from app.domain.dependency_errors import ImsUnavailableError
from app.domain.events import ExchangeFinished
from app.domain.tenant_errors import CredentialRejectedError
from tests.support.children import free_port
from tests.support.exchanging import exchanging
from tests.support.grants import oauth_exchange
from tests.support.ims_server import run_sandbox

ASKED = 50


async def test_an_ims_host_that_is_away_is_not_asked_by_every_request() -> None:
    """After three connections that cannot be made all others fail at once, with the sentence of the last one."""
    grant = oauth_exchange(f"http://127.0.0.1:{free_port()}")
    async with exchanging() as broker:
        for _ in range(ASKED):
            with pytest.raises(ImsUnavailableError, match="the connection was refused") as refused:
                await broker.exchanger.exchange(grant)
            assert refused.value.retry_after > 0
        assert broker.exchanger.breaker_is_open
        assert 3 <= len(broker.sink.of(ExchangeFinished)) < 10


async def test_a_tenant_that_ims_refuses_opens_no_breaker() -> None:
    """Fifty refusals are fifty answers."""
    async with run_sandbox() as ims, exchanging() as broker:
        for _ in range(ASKED):
            with pytest.raises(CredentialRejectedError):
                await broker.exchanger.exchange(oauth_exchange(ims.base_url))
        assert not broker.exchanger.breaker_is_open
