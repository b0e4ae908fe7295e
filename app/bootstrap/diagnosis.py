"""Assembles the checks of ``doctor`` for the settings of a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial

import httpx2

from app.adapters.directory import DirectoryCredentialStore, directory_finding
from app.adapters.ims import clock_finding, ims_client, ims_finding
from app.adapters.jwt_verifier import issuer_finding, token_review_finding
from app.adapters.policy_file import read_policy
from app.adapters.redis import RedisDiagnosis
from app.adapters.vault import VaultDiagnosis, VaultLayout, VaultSession
from app.bootstrap.local_checks import (
    certificate_finding,
    key_ring_finding,
    open_files_finding,
    permissions_finding,
    policy_finding,
    proxy_finding,
    tracing_finding,
)
from app.bootstrap.minting import egress_proxy
from app.bootstrap.redis_client import redis_client
from app.bootstrap.vault_config import vault_config
from app.diagnosis import Check, Checked, CheckFinding, failed, fine, run_checks, skipped
from app.domain.identity import Issuer
from app.domain.plain_document import PolicyError
from app.ports import Clock, EventSink
from app.process.ca_bundle import client_context
from app.process.own_threads import OwnThreads
from app.process.regular_file import FileError
from app.service.start_checks import NO_ONE
from app.settings.settings import Settings

_REDIS_SECONDS = 2.0
"""For one call: longer than the broker waits, so that a slow Redis is measured and not only refused."""


async def diagnose(settings: Settings, sink: EventSink, clock: Clock, timeout: float) -> list[Checked]:
    """Run all checks that fit the settings.

    Args:
        settings: The broker's settings.
        sink: Takes events of the calls.
        clock: Unix time in seconds.
        timeout: Seconds for each check.

    """
    async with AsyncExitStack() as stack:
        threads = OwnThreads("doctor", threads=8, waiting=1000)
        stack.callback(threads.close)
        run = _InThreads(threads)
        checks = [
            Check("settings", _settings_are_valid),
            *_credential_checks(settings, stack, sink),
            *_kms_checks(settings, stack, sink),
            *_redis_checks(settings, stack, sink, run),
            *_ims_checks(settings, run, clock, timeout),
            *await _policy_checks(settings, run, timeout),
            *_machine_checks(settings, run),
        ]
        return await run_checks(checks, timeout)


class _InThreads:
    """Turns work that blocks into the work of a check.

    Args:
        threads: Threads that run it.

    """

    def __init__(self, threads: OwnThreads) -> None:
        self.threads = threads

    def __call__(self, work: Callable[[], CheckFinding]) -> Callable[[], asyncio.Future[CheckFinding]]:
        """`work` in a thread."""
        return lambda: asyncio.ensure_future(self.threads.run(work))


async def _settings_are_valid() -> CheckFinding:
    return fine("Each BROKER_ variable is known and has a valid form.")


def _credential_checks(settings: Settings, stack: AsyncExitStack, sink: EventSink) -> Iterator[Check]:
    if settings.credential_store == "directory":
        assert settings.credential_dir is not None  # noqa: S101  # the settings require it
        store = DirectoryCredentialStore(settings.credential_dir, settings.allowed_ims_base_urls)
        stack.push_async_callback(store.aclose)
        remedy = "Check BROKER_CREDENTIAL_DIR and the permissions of what is in it."
        yield Check("credential directory", partial(directory_finding, store), remedy=remedy)
        return
    config = vault_config(settings)
    session = VaultSession(config, sink)
    stack.push_async_callback(session.aclose)
    layout = VaultLayout(
        settings.vault_mount,
        settings.vault_kv_version,
        settings.vault_prefix,
        settings.vault_transit_mount,
        f"{NO_ONE.ref.org}/{NO_ONE.ref.name}",
    )
    yield from VaultDiagnosis(config, session, layout).checks()


def _kms_checks(settings: Settings, stack: AsyncExitStack, sink: EventSink) -> Iterator[Check]:
    if settings.kms_region is None:
        return
    from app.adapters.aws_kms import KmsConfig, KmsSigner, kms_finding

    signer = KmsSigner(KmsConfig(settings.kms_region, settings.kms_endpoint_url, egress_proxy(settings)), sink)
    stack.callback(signer.close)
    remedy = "Check the broker's IAM role, the firewall, and BROKER_KMS_ENDPOINT_URL."
    yield Check("aws kms", partial(kms_finding, signer), remedy=remedy)


def _redis_checks(settings: Settings, stack: AsyncExitStack, sink: EventSink, run: _InThreads) -> Iterator[Check]:
    if not settings.redis_url.get_secret_value() or settings.cache_keys_file is None:
        yield Check("redis", _memory_only)
        return
    client = redis_client(settings, sink, _REDIS_SECONDS)
    stack.push_async_callback(client.aclose)
    yield from RedisDiagnosis(client, settings.redis_prefix).checks()
    yield Check("key ring", run(partial(key_ring_finding, settings.cache_keys_file)))


async def _memory_only() -> CheckFinding:
    return fine("BROKER_REDIS_URL is not set: memory only, so each replica exchanges for itself.")


def _ims_checks(settings: Settings, run: _InThreads, clock: Clock, timeout: float) -> Iterator[Check]:
    proxy = egress_proxy(settings)
    if proxy is not None:
        yield Check("egress proxy", run(partial(proxy_finding, proxy)))

    async def look(finding: Callable[[httpx2.AsyncClient], Awaitable[CheckFinding]]) -> CheckFinding:
        try:
            file = settings.ims_cacert
            verify = None if file is None else await run.threads.run(partial(client_context, file))
        except FileError as error:
            return failed(f"BROKER_IMS_CACERT {error.reason}.", "Correct the file.")
        async with ims_client(verify, proxy=proxy) as client:
            return await finding(client)

    base_urls = sorted(settings.allowed_ims_base_urls)
    for base_url in base_urls:
        finding = partial(ims_finding, base_url=base_url)
        yield Check(f"ims {base_url}", partial(look, finding), remedy="Check the firewall, and BROKER_PROXY_URL.")
    # A host that does not answer is the failure of its own check, so this one ends before its deadline.
    yield Check("clock", partial(look, partial(clock_finding, base_urls=base_urls, clock=clock, timeout=0.8 * timeout)))


async def _policy_checks(settings: Settings, run: _InThreads, timeout: float) -> list[Check]:
    """The policy, and each issuer in it."""
    checks = [Check("policy", run(partial(policy_finding, settings.policy_file)))]
    issuers: tuple[Issuer, ...] = ()
    try:
        async with asyncio.timeout(timeout):
            issuers = (await run.threads.run(partial(read_policy, settings.policy_file))).issuers
    except (PolicyError, TimeoutError):
        checks.append(Check("issuers", _unknown_issuers, "policy"))
    proxy = egress_proxy(settings)
    for issuer in issuers:
        checks.append(Check(f"issuer {issuer.issuer}", partial(issuer_finding, issuer, run.threads, proxy)))
        if issuer.token_review_url is not None:
            review = partial(token_review_finding, issuer, run.threads, proxy)
            checks.append(Check(f"token review {issuer.issuer}", review))
    return checks


async def _unknown_issuers() -> CheckFinding:
    return skipped("The policy could not be read at first.")


def _machine_checks(settings: Settings, run: _InThreads) -> Iterator[Check]:
    if settings.tls_cert_file is not None and settings.tls_key_file is not None:
        yield Check("certificate", run(partial(certificate_finding, settings.tls_cert_file, settings.tls_key_file)))
    if settings.tracing != "off":
        yield Check("tracing", run(tracing_finding))
    yield Check("file permissions", run(partial(permissions_finding, settings)))
    yield Check("open files", run(open_files_finding))
