"""Checks of what is on this machine: files, permissions and limits. All of them block, and run in threads."""

from __future__ import annotations

import resource
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from app.adapters.policy_file import read_policy
from app.adapters.server_certificate import server_context
from app.diagnosis import CheckFinding, failed, fine, warning
from app.domain.amount import amount
from app.domain.plain_document import PolicyError
from app.domain.policy import Policy
from app.domain.policy_ends import ended_notes, without_ended
from app.egress import EgressProxy, ProxyPasswordError
from app.process.certificate_pair import CertificatePairError, load_pair
from app.settings.settings import Settings
from app.shared_cache.key_ring import KeyRingError, load_key_ring

SOON_SECONDS = 14 * 86400.0
"""What ends within this time is a warning."""

ENOUGH_FILES = 4096
"""Open files that a busy broker may need: a connection of each caller, and 500 to IMS."""

SECRET_FILES = (
    "vault_token_file", "vault_secret_id_file", "vault_key_file", "redis_password_file", "redis_key_file",
    "cache_keys_file", "proxy_password_file", "tls_key_file",
)  # fmt: skip
"""The settings that name a file with a secret."""


def policy_finding(file: Path) -> CheckFinding:
    """Whether the policy is valid, and what in it ends soon."""
    try:
        policy = read_policy(file)
    except PolicyError as error:
        return failed(f"BROKER_POLICY_FILE: {error}.", "Correct it; `policy check` says the same.")
    now = time.time()
    callers, issuers = amount(len(policy.callers), "caller"), amount(len(policy.issuers), "issuer")
    detail = f"Valid: {callers}, {issuers}, version {policy.version}."
    notes = [*policy.notes, *ended_notes(policy, now)]
    if notes:
        return warning(
            f"{detail} {amount(len(notes), 'entry allows', 'entries allow')} nothing.", "`policy check` lists them."
        )
    if _ends_by(policy, now + SOON_SECONDS):
        return warning(f"{detail} A rule or an API key ends within 14 days.", "`policy review` lists them.")
    return fine(detail)


def _ends_by(policy: Policy, moment: float) -> bool:
    return without_ended(policy, moment) is not policy


def key_ring_finding(file: Path) -> CheckFinding:
    """Whether the key ring is valid; the ids are no secret, and must be the same on all replicas."""
    try:
        ring = load_key_ring(file)
    except KeyRingError as error:
        return failed(f"BROKER_CACHE_KEYS_FILE: {error}.", "Make one with `keys create`, the same for all replicas.")
    return fine(
        f"Valid: encrypts with {ring.sealing_id}, decrypts with {', '.join(ring.ids)}. All replicas must have the same."
    )


def certificate_finding(cert_file: Path, key_file: Path) -> CheckFinding:
    """Whether the broker's own certificate can be used, and how long it is valid."""
    try:
        pair = load_pair(cert_file, key_file, server_context)
    except CertificatePairError as error:
        return failed(f"BROKER_TLS_{error.part.upper()}_FILE: {error.expected}.", "Renew the certificate with its key.")
    left = pair.not_after - time.time()
    if left <= 0:
        return failed("The certificate has ended.", "Renew it.")
    days = f"The certificate is valid for {left / 86400:.0f} days."
    return warning(days, "Renew it.") if left < SOON_SECONDS else fine(days)


def proxy_finding(proxy: EgressProxy) -> CheckFinding:
    """Whether the login of the proxy can be read; the checks of IMS show whether it works."""
    try:
        login = proxy.read_login()
    except ProxyPasswordError as error:
        return failed(f"{error}.", "Correct the file.")
    return fine(f"BROKER_PROXY_URL is set, {'without a login' if login is None else 'with a login'}.")


def tracing_finding() -> CheckFinding:
    """Whether traces can be made: they need an extra, which is not always installed."""
    try:
        from app.adapters.otlp import SpanExport

        SpanExport.check()
    except ModuleNotFoundError:
        return failed(
            "BROKER_TRACING is on, and OpenTelemetry is not installed (the extra otel).",
            "pip install -r requirements/otel.lock, or BROKER_TRACING=off.",
        )
    except ValueError:
        return failed("An OTEL_ variable has a value that cannot be used.", "Correct it; docs/tracing.md lists them.")
    return fine("BROKER_TRACING is on, and OpenTelemetry is installed.")


def permissions_finding(settings: Settings) -> CheckFinding:
    """Whether others on this machine can read a file with a secret.

    Files of a Kubernetes volume are left out: they belong to the pod alone, whatever their mode is.
    """
    files = [(name, getattr(settings, name)) for name in SECRET_FILES]
    open_to_others = [f"BROKER_{name.upper()}" for name, file in files if file is not None and _is_open(file)]
    if settings.credential_store == "directory" and settings.credential_dir is not None:
        count = sum(map(_is_open, _documents(settings.credential_dir)))
        open_to_others += [f"{amount(count, 'file')} below BROKER_CREDENTIAL_DIR"] if count else []
    if open_to_others:
        return warning(
            f"Group or others may read: {', '.join(open_to_others)}.",
            "Run chmod 600 on each, and make the broker's user its owner.",
        )
    return fine("No file with a secret can be read by others.")


def _documents(folder: Path) -> Iterator[Path]:
    return folder.glob("*/*.json")


def _is_open(file: Path) -> bool:
    try:
        if (file.parent / "..data").is_symlink():
            return False
        return bool(file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False  # the check of what uses it says so


def open_files_finding() -> CheckFinding:
    """Whether the process may open enough files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH_FILES:
        return fine(f"The limit is {'none' if soft == resource.RLIM_INFINITY else soft}.")
    return warning(f"The limit is {soft}.", f"Raise it to {ENOUGH_FILES} (ulimit -n, LimitNOFILE).")
