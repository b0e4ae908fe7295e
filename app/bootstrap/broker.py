"""The whole broker, assembled from its parts."""

from __future__ import annotations

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
from app.ports import Clock, CredentialStore, EventSink
from app.process.supervisor import Supervisor
from app.service.backoff import RefreshBackoff
from app.service.epochs import Epochs
from app.service.failing_refreshes import failing_refreshes
from app.service.memory import TokenMemory
from app.service.purges import Purges
from app.service.reload import PolicyInForce
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

    """

    services: Services
    tls: ssl.SSLContext | None
    enclose: Callable[[ASGIApp], ASGIApp]


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Broker]:
    """Run the whole broker within the context.

    It ends in reverse order: tasks, running exchanges, pending purges, adapters, and the audit log last.

    Raises:
        PolicyError: The policy is missing or bad.
        KeyRingError: The key ring is bad.
        CertificatePairError: The certificate and its key are bad.
        FileError: A CA bundle is unusable.
        OSError: A file that a setting names cannot be read or written.

    """
    clock = time.time
    async with AsyncExitStack() as stack:
        heard = await stack.enter_async_context(listeners(settings, clock))
        sink, tracer = heard.sink, heard.tracer
        verifier = JwtCallerVerifier(clock, sink, proxy=egress_proxy(settings))
        stack.push_async_callback(verifier.aclose)
        policy = await _policy(settings, stack, verifier, sink, clock)

        outgoing = dict if tracer is None else tracer.outgoing
        mint = await stack.enter_async_context(minting(settings, sink, clock, outgoing))
        shared = await stack.enter_async_context(shared_cache(settings, sink, clock))
        memory, backoff, epochs = TokenMemory(), RefreshBackoff(), Epochs()
        exchange = SharedExchange(shared.tokens, shared.lease, mint.minter, epochs, sink, clock)
        purges = Purges(memory, shared.purge_log, epochs, sink, clock)
        stack.push_async_callback(purges.aclose)
        vendor = TokenVendor(memory, exchange, purges, epochs, sink, clock, backoff, tracer=tracer)
        stack.push_async_callback(vendor.aclose, IN_FLIGHT_SECONDS)
        _gauges(heard.metrics, memory, backoff, vendor, clock)
        heard.metrics.gauge("vault_token_remaining_seconds", mint.vault_token_remaining)
        heard.metrics.gauge("redis_breaker_open", shared.breaker_open)

        tasks = Supervisor(sink)
        stack.push_async_callback(tasks.aclose)
        tasks.start("policy-reload", policy.watch)
        tasks.start("policy-ends", policy.watch_ends)
        tasks.start("purge-listener", purges.listen)
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
        )
        yield Broker(services, tls, heard.enclose)


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
    """Check Vault and Redis once, in the background: nothing waits for them."""
    if settings.credential_store == "vault":
        tasks.start_once("vault-check", lambda: check_at_start("vault", lambda: read_from(store), sink))
    if settings.redis_url.get_secret_value():
        use = partial(use_shared_cache, shared.tokens, shared.lease)
        tasks.start_once("redis-check", lambda: check_at_start("redis", use, sink))


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
