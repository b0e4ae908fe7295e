"""The whole API on fakes: the same app as in production, asked without a socket."""

from __future__ import annotations

from urllib.parse import urlencode

from app.adapters.memory_cache import MemoryLimitShares
from app.api.app import Services
from app.api.health import Readiness
from app.api.limits import Limits
from app.domain.policy import Action, Caller
from app.main import create_app
from app.ports import CallerVerifier
from app.service.fleet_limits import FleetLimits
from app.service.reload import PolicyInForce
from app.service.status import StatusReader
from tests.factories import ALL_ACTIONS, ORG, OTHER_ORG, make_api_key, make_caller, make_policy, make_rule
from tests.fakes import FakePolicySource, FakeVerifier
from tests.support.asgi_client import AsgiResponse, Body, Header, send
from tests.support.recorded_events import RecordedEvents
from tests.support.replica_in_memory import ReplicaInMemory, World

JOURNEY = make_caller("journey")
OPERATOR = make_caller("operator", make_rule(ORG, OTHER_ORG, actions=ALL_ACTIONS))
EXPORTER = make_caller("exporter", make_rule(actions=[Action.VEND]), subject="exporter", api_keys=())
TOKEN = f"/token?org={ORG}"


def bearer(name: str = "journey") -> Header:
    """The Authorization header of a caller with an API key."""
    return ("Authorization", f"Bearer {make_api_key(name)}")


class ApiInMemory:
    """The broker's app and the world around it.

    Args:
        callers: Of its policy; by default `JOURNEY`, `OPERATOR` and `EXPORTER`.
        verifier: Instead of the fake one.

    """

    def __init__(self, *callers: Caller, verifier: CallerVerifier | None = None) -> None:
        self.world = World()
        self.clock = self.world.clock
        self.replica = ReplicaInMemory(self.world)
        self.sink: RecordedEvents = self.replica.sink
        self.source = FakePolicySource(make_policy(*(callers or (JOURNEY, OPERATOR, EXPORTER))))
        self.verifier = FakeVerifier()
        self.policy = PolicyInForce(self.source, verifier or self.verifier, self.sink, self.clock)
        self.policy.current = make_policy(*(callers or (JOURNEY, OPERATOR, EXPORTER)))
        self.fleet_limits = FleetLimits(self.policy, MemoryLimitShares(self.clock), "replica", self.clock)
        self.readiness = Readiness()
        self.audit_is_full = False
        self.address = "192.0.2.1"
        """Where requests come from."""
        store, cache = self.world.store, self.world.cache
        status = StatusReader(store, cache, self.replica.vendor, lambda _pem: 12.0, self.clock)
        self._services = Services(
            policy=self.policy,
            verifier=verifier or self.verifier,
            vendor=self.replica.vendor,
            purges=self.replica.purges,
            status=status,
            sink=self.sink,
            clock=self.clock,
            render_metrics=lambda: b"# none\n",
            readiness=self.readiness,
            audit_is_full=lambda: self.audit_is_full,
            fleet_limits=self.fleet_limits,
        )
        self.app = create_app(self._services)

    def limit(self, limits: Limits) -> None:
        """Build the app again, with other bounds."""
        self.app = create_app(self._services, limits)

    def change_policy(self, *callers: Caller) -> None:
        """Put another policy in force, at once."""
        self.policy.current = make_policy(*callers, version="changed")

    async def ask(
        self,
        method: str,
        target: str,
        *headers: Header,
        caller: str | None = "journey",
        body: bytes | Body = b"",
    ) -> AsgiResponse:
        """Send a request as a caller, or without a credential."""
        authorization = () if caller is None else (bearer(caller),)
        return await send(self.app, method, target, (*authorization, *headers), body, self.address)

    async def get(self, target: str = TOKEN, *headers: Header, caller: str | None = "journey") -> AsgiResponse:
        """GET as a caller."""
        return await self.ask("GET", target, *headers, caller=caller)

    async def form(self, fields: dict[str, str], *headers: Header, query: str = "") -> AsgiResponse:
        """POST a form to /oauth2/token."""
        content_type = ("Content-Type", "application/x-www-form-urlencoded")
        body = urlencode(fields).encode()
        return await self.ask("POST", f"/oauth2/token{query}", content_type, *headers, caller=None, body=body)
