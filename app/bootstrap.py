"""The composition root: the only place that names both a port's user and its adapter."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from app import __version__
from app.adapters.audit_log import AuditLog
from app.adapters.certificates import certificate_not_after
from app.adapters.directory import DirectoryCredentialStore
from app.adapters.event_stream import EventStream
from app.adapters.ims import HttpTokenExchanger, ims_client
from app.adapters.jose_signer import JoseAssertionSigner
from app.adapters.json_logs import LogSink, lines_lost
from app.adapters.jwt_verifier import JwtCallerVerifier
from app.adapters.memory_cache import MemoryLease, MemoryTokenCache
from app.adapters.policy_file import PolicyFile
from app.adapters.prometheus import PrometheusSink, Watched
from app.adapters.redis import RedisClient, RedisLease, RedisLogin, RedisTokenCache, load_key_ring
from app.adapters.server_certificate import ServerCertificate
from app.adapters.vault import VaultConfig, VaultCredentialStore, VaultSession, VaultTransitSigner
from app.api.app import Services
from app.api.health import Readiness
from app.ports import AssertionSigner, Clock, CredentialStore, EventSink, Lease, TokenCache
from app.process.ca_bundle import client_context
from app.process.supervisor import Supervisor
from app.service.backoff import RefreshBackoff
from app.service.epochs import Epochs
from app.service.failing_refreshes import failing_refreshes
from app.service.memory import TokenMemory
from app.service.mint import Minter
from app.service.purges import Purges
from app.service.reload import PolicyInForce
from app.service.shared_exchange import SharedExchange
from app.service.status import StatusReader
from app.service.vend import TokenVendor
from app.settings import Settings

if TYPE_CHECKING:
    from app.adapters.otlp import OtlpTracer

LANDING_SECONDS = 12.0
"""How long running exchanges may go on when the process ends: their result is stored, their lease given back."""


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Services]:
    """The whole broker, running, for as long as the context lasts.

    It ends in reverse: tasks, flights, purges that are owed, adapters, and the audit log last.

    Raises:
        PolicyError: The policy is missing or bad.
        KeyRingError: The key ring is bad.
        ServerCertificateError: The certificate and its key are bad.
        FileError: A CA bundle cannot be used.
        OSError: A file that a setting names cannot be read or written.

    """
    clock = time.time
    async with AsyncExitStack() as stack:
        memory, backoff = TokenMemory(), RefreshBackoff()
        sink, metrics, tracer = _listeners(settings, stack, memory, backoff, clock)
        watched = metrics.watched
        verifier = JwtCallerVerifier(clock, sink)
        stack.push_async_callback(verifier.aclose)
        policy = await _policy(settings, stack, verifier, sink, clock)

        outgoing = dict if tracer is None else tracer.outgoing
        store, transit_signer = _credentials(settings, stack, sink, watched, outgoing)
        cache, lease = await _cache(settings, stack, sink, clock, watched)
        key_signer = JoseAssertionSigner()
        stack.callback(key_signer.close)
        exchanger = HttpTokenExchanger(await _ims_client(settings, stack), clock, sink, outgoing=outgoing)
        # Without Vault nobody can sign with a key that stays there; the other signer says so.
        signers = (key_signer, transit_signer or key_signer)
        minter = Minter(store, *signers, exchanger, certificate_not_after, sink, clock)
        epochs = Epochs()
        fleet = SharedExchange(cache, lease, minter, epochs, sink, clock)
        purges = Purges(memory, cache, epochs, sink, clock)
        stack.push_async_callback(purges.aclose)
        vendor = TokenVendor(memory, fleet, purges, epochs, sink, clock, backoff, tracer=tracer)
        watched.flights = lambda: vendor.flights
        watched.requests_waiting = lambda: vendor.requests_waiting
        stack.push_async_callback(vendor.aclose, LANDING_SECONDS)

        tasks = Supervisor(sink)
        stack.push_async_callback(tasks.aclose)
        tasks.start("policy-reload", policy.watch)
        tasks.start("purge-listener", purges.listen)
        tls = await _tls(settings, stack, tasks, sink, clock)
        yield Services(
            policy=policy,
            verifier=verifier,
            vendor=vendor,
            purges=purges,
            status=StatusReader(store, cache, vendor, certificate_not_after, clock),
            sink=sink,
            clock=clock,
            render_metrics=metrics.render,
            readiness=Readiness(),
            public_url=settings.public_url,
            tls=tls,
            enclose=_enclosing(tracer),
        )


def _listeners(
    settings: Settings, stack: AsyncExitStack, memory: TokenMemory, backoff: RefreshBackoff, clock: Clock
) -> tuple[EventStream, PrometheusSink, OtlpTracer | None]:
    """The stream of events with all who hear it, and two of them that others must know."""
    audit = AuditLog(settings.audit_file, chained=settings.audit_chain)
    stack.push_async_callback(audit.aclose)
    audit.start()
    metrics = PrometheusSink(CollectorRegistry(), clock, __version__)
    watched = metrics.watched
    watched.tokens = lambda: memory.states(clock())
    watched.unrefreshed = lambda: failing_refreshes(memory, backoff, clock())
    watched.audit_lines_lost = lambda: audit.dropped
    watched.log_lines_lost = lines_lost
    tracer = _tracer(settings, stack, watched)
    sink = EventStream()
    # The tracer first: audit lines name the trace.
    for listener in (*(() if tracer is None else (tracer,)), metrics, audit, LogSink()):
        sink.add(listener)
    return sink, metrics, tracer


async def _policy(
    settings: Settings, stack: AsyncExitStack, verifier: JwtCallerVerifier, sink: EventSink, clock: Clock
) -> PolicyInForce:
    """The policy, loaded."""
    source = PolicyFile(settings.policy_file)
    stack.push_async_callback(source.aclose)
    policy = PolicyInForce(source, verifier, sink, clock)
    await policy.load()
    return policy


def _tracer(settings: Settings, stack: AsyncExitStack, watched: Watched) -> OtlpTracer | None:
    """Draws spans, where tracing is on; its library is an extra, and is loaded for it alone."""
    if settings.tracing == "off":
        return None
    from app.adapters.otlp import OtlpTracer, SpanExport

    export = SpanExport(__version__)
    stack.push_async_callback(export.aclose)
    watched.spans_lost = lambda: export.lost
    return OtlpTracer(export, tells_orgs=settings.tracing_orgs)


def _enclosing(tracer: OtlpTracer | None) -> Callable[[ASGIApp], ASGIApp]:
    if tracer is None:
        return lambda app: app
    from app.adapters.otlp import TracedApp

    return lambda app: TracedApp(app, tracer)


async def _tls(
    settings: Settings, stack: AsyncExitStack, tasks: Supervisor, sink: EventSink, clock: Clock
) -> ssl.SSLContext | None:
    """What HTTPS is served with, kept up to date; None for plain HTTP."""
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return None
    certificate = ServerCertificate(settings.tls_cert_file, settings.tls_key_file, sink, clock)
    stack.push_async_callback(certificate.aclose)
    context = await certificate.load()
    tasks.start("tls-reload", certificate.watch)
    return context


def _credentials(
    settings: Settings,
    stack: AsyncExitStack,
    sink: EventSink,
    watched: Watched,
    outgoing: Callable[[], Mapping[str, str]],
) -> tuple[CredentialStore, AssertionSigner | None]:
    """Where credentials come from, and who signs with keys that stay there."""
    allowed = settings.allowed_ims_base_urls
    if settings.credential_store == "directory":
        assert settings.credential_dir is not None  # noqa: S101  # the settings saw to it
        directory = DirectoryCredentialStore(settings.credential_dir, allowed)
        stack.push_async_callback(directory.aclose)
        return directory, None
    session = VaultSession(_vault_config(settings), sink, outgoing=outgoing)
    stack.push_async_callback(session.aclose)
    session.start()
    watched.vault_token_remaining = session.remaining
    store = VaultCredentialStore(session, settings.vault_mount, settings.vault_prefix, allowed)
    return store, VaultTransitSigner(session, settings.vault_transit_mount)


def _vault_config(settings: Settings) -> VaultConfig:
    assert settings.vault_addr is not None  # noqa: S101  # the settings saw to it
    token, secret_id = settings.vault_token, settings.vault_secret_id
    return VaultConfig(
        addr=settings.vault_addr,
        auth=settings.vault_auth,
        token=None if token is None else token.get_secret_value(),
        token_file=settings.vault_token_file,
        role_id=settings.vault_role_id,
        secret_id=None if secret_id is None else secret_id.get_secret_value(),
        secret_id_file=settings.vault_secret_id_file,
        role=settings.vault_role,
        kubernetes_token_file=settings.vault_kubernetes_token_file,
        auth_mount=settings.vault_auth_mount,
        cacert=settings.vault_cacert,
        namespace=settings.vault_namespace,
    )


async def _cache(
    settings: Settings, stack: AsyncExitStack, sink: EventSink, clock: Clock, watched: Watched
) -> tuple[TokenCache, Lease]:
    url = settings.redis_url.get_secret_value()
    if not url:
        return MemoryTokenCache(clock), MemoryLease(time.monotonic)
    assert settings.cache_keys_file is not None  # noqa: S101  # the settings saw to it
    key_ring = await asyncio.to_thread(load_key_ring, settings.cache_keys_file)
    trust = None if settings.redis_cacert is None else await asyncio.to_thread(client_context, settings.redis_cacert)
    password = settings.redis_password
    login = RedisLogin(
        settings.redis_username,
        None if password is None else password.get_secret_value(),
        settings.redis_password_file,
    )
    client = RedisClient(url, sink, trust, login)
    stack.push_async_callback(client.aclose)
    watched.redis_breaker_open = lambda: client.circuit_is_open
    prefix = settings.redis_prefix
    return RedisTokenCache(client, key_ring, sink, prefix), RedisLease(client, prefix)


async def _ims_client(settings: Settings, stack: AsyncExitStack) -> httpx2.AsyncClient:
    verify = None if settings.ims_cacert is None else await asyncio.to_thread(client_context, settings.ims_cacert)
    client = ims_client(verify)
    stack.push_async_callback(client.aclose)
    return client
