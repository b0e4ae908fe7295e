"""The whole broker, assembled from its parts."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from starlette.types import ASGIApp

from app.adapters.certificates import certificate_not_after
from app.adapters.jwt_verifier import JwtCallerVerifier
from app.adapters.policy_file import PolicyFile
from app.adapters.prometheus import PrometheusSink
from app.adapters.server_certificate import ServerCertificate
from app.api.app import Services
from app.api.health import Readiness
from app.bootstrap.listeners import listeners
from app.bootstrap.minting import egress_proxy, minting
from app.bootstrap.shared_cache import SharedCache, shared_cache
from app.bootstrap.workers import THE_ONLY_ONE, WorkerPlace
from app.ports import Clock, CredentialStore, EventSink
from app.process.full_collections import FullCollections
from app.process.loop_lag import LoopLag
from app.process.supervisor import Supervisor
from app.service.backoff import RefreshBackoff
from app.service.epochs import Epochs
from app.service.exchange_admission import ExchangeAdmission
from app.service.exchange_places import ExchangePlaces
from app.service.failing_refreshes import failing_refreshes
from app.service.fleet_limits import FleetLimits
from app.service.keeper import Keeper
from app.service.memory import TokenMemory
from app.service.not_before import NotBeforeStore
from app.service.purges import Purges
from app.service.reload import PolicyInForce
from app.service.resealing import Resealing
from app.service.shared_exchange import SharedExchange
from app.service.start_checks import check_at_start, read_from, use_shared_cache
from app.service.status import StatusReader
from app.service.vend import TokenVendor
from app.settings.settings import Settings

IN_FLIGHT_SECONDS = 12.0
"""The time that running exchanges have to finish at shutdown: their tokens are stored and their leases released."""


@dataclass(frozen=True, slots=True)
class Broker:
    """The whole broker, running.

    Args:
        services: The services of the API.
        tls: The TLS context of HTTPS, or None for plain HTTP.
        enclose: Wraps the app in the span of each request, if tracing is on.
        answers_at_connection: Whether warm requests are answered at the connection. Not if tracing wraps the app.

    """

    services: Services
    tls: ssl.SSLContext | None
    enclose: Callable[[ASGIApp], ASGIApp]
    answers_at_connection: bool


@asynccontextmanager
async def assembled(settings: Settings, place: WorkerPlace = THE_ONLY_ONE) -> AsyncIterator[Broker]:
    """Run the whole broker within the context.

    Args:
        settings: All settings.
        place: The place of this process in its replica.

    It ends in reverse order: tasks, running exchanges, pending purges, adapters, and the audit log last.

    Raises:
        PolicyError: The policy is missing or bad.
        KeyRingError: The key ring is bad.
        CertificatePairError: The certificate and its key are bad.
        FileError: A CA bundle is unusable.
        OSError: A file that a setting names cannot be read or written.

    """
    clock, steady = time.time, time.monotonic
    async with AsyncExitStack() as stack:
        heard = await stack.enter_async_context(listeners(settings, clock, place))
        sink, tracer = heard.sink, heard.tracer
        verifier = JwtCallerVerifier(clock, sink, proxy=egress_proxy(settings))
        stack.push_async_callback(verifier.aclose)
        policy = await _policy(settings, stack, verifier, sink, clock)

        outgoing = dict if tracer is None else tracer.outgoing
        shared = await stack.enter_async_context(shared_cache(settings, sink, clock))
        memory, backoff, epochs = TokenMemory(clock, steady), RefreshBackoff(), Epochs()
        purges = Purges(memory, shared.purge_log, epochs, sink, clock)
        stack.push_async_callback(purges.aclose)
        heeding = partial(NotBeforeStore, memory=memory, purges=purges, epochs=epochs, clock=clock)
        mint = await stack.enter_async_context(minting(settings, sink, clock, outgoing, heeding))
        places = ExchangePlaces(place.share(settings.max_exchanges))
        admission = ExchangeAdmission(places, shared.budget)
        exchange = SharedExchange(shared.tokens, shared.lease, mint.minter, epochs, sink, clock, admission)
        vendor = TokenVendor(memory, exchange, purges, epochs, sink, clock, steady, backoff, tracer)
        stack.push_async_callback(vendor.aclose, IN_FLIGHT_SECONDS)
        _gauges(heard.metrics, memory, backoff, vendor, clock)
        heard.metrics.gauge("vault_token_remaining_seconds", mint.vault_token_remaining)
        heard.metrics.gauge("exchanges_in_flight", places.running)
        heard.metrics.gauge("exchanges_waiting", places.waiting)
        heard.metrics.gauge("exchanges_deferred", places.deferred)
        breakers = {"redis": shared.breaker_open, "vault": mint.vault_breaker_open, "ims": mint.ims_breaker_open}
        heard.metrics.gauge("breaker_open", lambda: {name: is_open() for name, is_open in breakers.items()})

        fleet_limits = FleetLimits(policy, shared.limits, secrets.token_hex(8), clock)
        heard.metrics.gauge("fleet_replicas", lambda: fleet_limits.replicas)
        heard.metrics.gauge("fleet_limits_alone", lambda: fleet_limits.is_alone)

        tasks = Supervisor(sink)
        stack.push_async_callback(tasks.aclose)
        lag = LoopLag()
        heard.metrics.gauge("event_loop_lag_seconds", lag.longest)
        heard.metrics.gauge("event_loop_tasks", lambda: len(asyncio.all_tasks()))
        tasks.start("loop-lag", lag.watch)
        tasks.start("full-collections", FullCollections().watch)
        if place.metrics is not None:
            tasks.start("metrics-share", heard.metrics.share_on)
        tasks.start("policy-reload", policy.watch)
        tasks.start("policy-ends", policy.watch_ends)
        tasks.start("purge-listener", purges.listen)
        if shared.key_ring is not None:
            tasks.start("key-ring-reload", shared.key_ring.watch)
            tasks.start("resealing", Resealing(memory, shared.tokens, shared.key_ring.another_seals).run)
        tasks.start("fleet-limits", fleet_limits.run)
        tasks.start("keeper", Keeper(memory, vendor, backoff, settings.keep_warm_seconds, clock, steady).run)
        _check_dependencies(settings, tasks, mint.store, shared, sink)
        tls = await _tls(settings, stack, tasks, sink, clock)
        services = Services(
            policy=policy,
            verifier=verifier,
            vendor=vendor,
            purges=purges,
            status=StatusReader(mint.store, shared.tokens, vendor, certificate_not_after, clock),
            sink=sink,
            clock=clock,
            render_metrics=heard.metrics.render,
            readiness=Readiness(),
            public_url=settings.public_url,
            workers=place.workers,
            audit_is_full=heard.audit_is_full,
            fleet_limits=fleet_limits,
        )
        yield Broker(services, tls, heard.enclose, settings.fast_path == "on" and tracer is None)


def _gauges(
    metrics: PrometheusSink, memory: TokenMemory, backoff: RefreshBackoff, vendor: TokenVendor, clock: Clock
) -> None:
    metrics.gauge("tokens", lambda: memory.states(clock()))
    metrics.gauge("tokens_unrefreshed", lambda: failing_refreshes(memory, backoff, clock()))
    metrics.gauge("flights", lambda: vendor.calls_in_flight)
    metrics.gauge("requests_waiting", lambda: vendor.requests_waiting)


def _check_dependencies(
    settings: Settings, tasks: Supervisor, store: CredentialStore, shared: SharedCache, sink: EventSink
) -> None:
    """Check Vault and the shared cache once, in the background: nothing waits for them."""
    if settings.credential_store == "vault":
        tasks.start_once("vault-check", lambda: check_at_start("vault", lambda: read_from(store), sink))
    if shared.dependency is not None:
        check = partial(check_at_start, shared.dependency, partial(use_shared_cache, shared.tokens, shared.lease), sink)
        tasks.start_once(f"{shared.dependency}-check", check)


async def _policy(
    settings: Settings, stack: AsyncExitStack, verifier: JwtCallerVerifier, sink: EventSink, clock: Clock
) -> PolicyInForce:
    """The policy, loaded."""
    source = PolicyFile(settings.policy_file)
    stack.push_async_callback(source.aclose)
    policy = PolicyInForce(source, verifier, sink, clock)
    await policy.load()
    return policy


async def _tls(
    settings: Settings, stack: AsyncExitStack, tasks: Supervisor, sink: EventSink, clock: Clock
) -> ssl.SSLContext | None:
    """The TLS context of HTTPS, kept up to date; None for plain HTTP."""
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return None
    certificate = ServerCertificate(settings.tls_cert_file, settings.tls_key_file, sink, clock)
    stack.push_async_callback(certificate.aclose)
    context = await certificate.load()
    tasks.start("tls-reload", certificate.watch)
    return context
