"""What the simulated replicas share: the true time, Redis, the credential store and IMS."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import count

from app.domain.credential import Credential
from app.domain.dependency_errors import CredentialStoreError, ImsUnavailableError
from app.domain.grant import Grant, IssuedToken
from app.domain.names import CredentialRef
from app.domain.tenant_errors import CredentialNotFoundError, CredentialRejectedError
from tests.factories import make_credential
from tests.simulation.simulated_network import Process, SimulatedLink
from tests.simulation.simulated_redis import SimulatedRedis, link_to_redis

EPOCH_OF_TIME = 1_900_000_000.0
"""Unix time in seconds at which every simulation begins."""


@dataclass(frozen=True)
class Exchange:
    """One call that reached IMS.

    Args:
        ref: The credential that was presented.
        began_at: Unix time in seconds when the replica sent it.
        value: The token; None if IMS refused or failed.
        expires_at: The true end of the token, Unix time in seconds.

    """

    ref: CredentialRef
    began_at: float
    value: str | None
    expires_at: float


@dataclass
class ImsBehaviour:
    """How IMS behaves now.

    Args:
        lifetime: Seconds for which a token is valid.
        answers: Seconds until it answers: the shortest and the longest time.
        throttles: Seconds of ``Retry-After`` in a 429; None to answer.
        fails: Whether it answers 503.
        refuses: The credentials that it refuses.

    """

    lifetime: float = 86_400.0
    answers: tuple[float, float] = (0.05, 0.4)
    throttles: float | None = None
    fails: bool = False
    refuses: frozenset[CredentialRef] = frozenset()


class SimulatedWorld:
    """What replicas share. To be made inside a `VirtualLoop`.

    Args:
        seed: Seed of all random numbers.
        refs: The credentials that are stored.
        history: As of `SimulatedRedis`.

    """

    def __init__(self, seed: int, refs: Iterable[CredentialRef], history: float = 0.0) -> None:
        self._time = asyncio.get_running_loop().time
        self.draw = random.Random(seed)  # a simulation, no secrets
        self.redis = SimulatedRedis(self.now, history)
        self.redis_link = link_to_redis(self.draw)
        self.vault_link = SimulatedLink(
            partial(CredentialStoreError, "The simulated Vault is unreachable."), self.draw, deadline=5.0
        )
        self.ims_link = SimulatedLink(
            partial(ImsUnavailableError, "The simulated IMS is unreachable."),
            self.draw,
            deadline=10.0,
            delay=(0.005, 0.05),
        )
        self.ims = ImsBehaviour()
        self.documents = {ref: make_credential(ref) for ref in refs}
        self.serial = count()
        self.exchanges: list[Exchange] = []
        self.minted: dict[str, Exchange] = {}

    def now(self) -> float:
        """The true time: Unix time in seconds."""
        return EPOCH_OF_TIME + self._time()


@dataclass
class SimulatedVault:
    """One replica's way to the credential store."""

    world: SimulatedWorld
    process: Process

    async def fetch(self, ref: CredentialRef, *, recent_app: bool = False) -> Credential:
        """See `app.ports.CredentialStore.fetch`."""
        del recent_app
        credential = await self.world.vault_link.call(self.process, lambda: self.world.documents.get(ref))
        if credential is None:
            raise CredentialNotFoundError
        return credential

    async def refs(self) -> tuple[CredentialRef, ...]:
        """See `app.ports.CredentialStore.refs`."""
        return tuple(self.world.documents)


@dataclass
class SimulatedIms:
    """One replica's way to IMS."""

    world: SimulatedWorld
    process: Process

    async def exchange(self, grant: Grant) -> IssuedToken:
        """See `app.ports.TokenExchanger.exchange`."""
        world, ref, began_at = self.world, grant.credential.ref, self.world.now()
        value = await world.ims_link.call(self.process, lambda: self._answer(ref, began_at))
        # IMS works on the request, and the reply is on its way.
        await asyncio.sleep(world.draw.uniform(*world.ims.answers))
        if value is None:
            raise self._refusal(ref)
        issued_at = world.now() + self.process.skew
        return IssuedToken(value, grant.scopes, issued_at, issued_at + world.ims.lifetime)

    def _answer(self, ref: CredentialRef, began_at: float) -> str | None:
        world, ims = self.world, self.world.ims
        refused = ims.fails or ims.throttles is not None or ref in ims.refuses
        value = None if refused else f"{ref.org}/{ref.name}#{next(world.serial)}"
        exchange = Exchange(ref, began_at, value, world.now() + ims.lifetime)
        world.exchanges.append(exchange)
        if value is not None:
            world.minted[value] = exchange
        return value

    def _refusal(self, ref: CredentialRef) -> Exception:
        ims = self.world.ims
        if ims.throttles is not None:
            return ImsUnavailableError("IMS throttles.", retry_after=ims.throttles, throttled=True)
        if ref in ims.refuses:
            return CredentialRejectedError("invalid_client")
        return ImsUnavailableError("IMS answered 503.")
