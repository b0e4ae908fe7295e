"""Whether the systems that the broker needs can be used, checked once when the process starts.

Otherwise a wrong setting shows only when the first caller needs the system. Nothing waits for the result: tokens are
served and minted as far as it is possible, whatever a check finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from app.domain.dependency import Dependency
from app.domain.errors import BrokerError
from app.domain.events import DependencyChecked
from app.domain.names import CredentialRef, TokenKey, parse_credential_name, parse_org
from app.domain.tenant_errors import TenantError
from app.ports import CredentialStore, EventSink, Lease, TokenCache

PAUSES: Final = (1.0, 3.0)
"""Seconds between the attempts: a network or a sidecar may come up after the process."""

DEADLINE_SECONDS: Final = 20.0
"""For all attempts together."""

NO_ONE: Final = TokenKey(CredentialRef(parse_org(f"{'0' * 24}@AdobeOrg"), parse_credential_name("start-check")))
"""The key that is asked for: no tenant has this org id."""

_NO_ANSWER: Final = "It does not answer in time."


async def check_at_start(
    dependency: Dependency,
    attempt: Callable[[], Awaitable[None]],
    sink: EventSink,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    deadline: float = DEADLINE_SECONDS,
) -> None:
    """Attempt it until it succeeds once, at most three times, and emit one `DependencyChecked`.

    Args:
        dependency: The system.
        attempt: Uses the system as a request would; raises a `BrokerError` if that is not possible.
        sink: Takes the event.
        sleep: Waits for seconds.
        deadline: Seconds for everything.

    """
    reason = _NO_ANSWER
    try:
        async with asyncio.timeout(deadline):
            for pause in (*PAUSES, None):
                try:
                    await attempt()
                except BrokerError as error:
                    reason = error.detail
                else:
                    sink.emit(DependencyChecked(dependency, ready=True))
                    return
                if pause is not None:
                    await sleep(pause)
    except TimeoutError:
        pass
    sink.emit(DependencyChecked(dependency, ready=False, reason=reason))


async def read_from(store: CredentialStore) -> None:
    """Log in to the credential store and read a path; that nothing is there is the right answer.

    Raises:
        CredentialStoreError: The store cannot be read.

    """
    with suppress(TenantError):
        await store.fetch(NO_ONE.ref)


async def use_shared_cache(tokens: TokenCache, lease: Lease) -> None:
    """Read, write and run scripts, as one exchange does.

    Raises:
        CacheUnavailableError: One of these is not possible.

    """
    await tokens.read(NO_ONE)
    holder = await lease.acquire(NO_ONE)
    if holder is not None:  # otherwise another replica checks at the same time
        await lease.release(NO_ONE, holder)
