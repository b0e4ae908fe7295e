"""Checks settings before startup, and explains a failed startup in one sentence that names the variable."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.failure import USAGE, CommandError

if TYPE_CHECKING:
    from app.process.certificate_pair import CertificatePairError
    from app.process.regular_file import FileError
    from app.settings.settings import MintingSettings, Settings


def check_settings(settings: Settings) -> None:
    """Find early what would otherwise fail later, or without naming its variable.

    Raises:
        CommandError: What settings name cannot be used: files, a directory, tracing or the proxy's login. It has a
            sentence for each of them.

    """
    unusable = dict.fromkeys(
        (
            *_ca_bundles(settings),
            *_credential_dir(settings),
            *_tracing(settings),
            *_certificates(settings),
            *_redis_files(settings),
            *_proxy_login(settings),
        )
    )
    if unusable:
        raise CommandError(" ".join(unusable), USAGE)


def check_credential_dir(settings: MintingSettings) -> None:
    """Find a missing directory of credentials before a command asks IMS for anything.

    Raises:
        CommandError: It is not there.

    """
    for sentence in _credential_dir(settings):
        raise CommandError(sentence, USAGE)


def _credential_dir(settings: MintingSettings) -> Iterator[str]:
    if settings.credential_dir is not None and not _is_directory(settings.credential_dir):
        yield f"{_variable('credential_dir')}: is not a directory that can be read."


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a folder above it may not be entered, or a name is too long
        return False


def _ca_bundles(settings: Settings) -> Iterator[str]:
    from app.process.ca_bundle import client_context
    from app.process.regular_file import FileError

    for file in (settings.vault_cacert, settings.redis_cacert, settings.ims_cacert):
        try:
            if file is not None:
                client_context(file)
        except FileError as error:
            yield _file_sentence(settings, error)


def _certificates(settings: Settings) -> Iterator[str]:
    from app.adapters.server_certificate import server_context
    from app.process.ca_bundle import client_context
    from app.process.certificate_pair import CertificatePairError, load_pair

    pairs = (
        ("tls", settings.tls_cert_file, settings.tls_key_file, server_context),
        ("vault", settings.vault_cert_file, settings.vault_key_file, partial(client_context, None)),
        ("redis", settings.redis_cert_file, settings.redis_key_file, partial(client_context, None)),
    )
    for name, cert_file, key_file, new_context in pairs:
        try:
            if cert_file is not None and key_file is not None:
                load_pair(cert_file, key_file, new_context)
        except CertificatePairError as error:
            yield _certificate_sentence(error, name)


def _certificate_sentence(error: CertificatePairError, name: str = "tls") -> str:
    return f"{_variable(f'{name}_{error.part}_file')}: {error.expected}."


def _file_sentence(settings: Settings, error: FileError) -> str:
    return f"{', '.join(_named(settings, str(error.path))) or error.path}: {error.reason}."


def _redis_files(settings: Settings) -> Iterator[str]:
    if not settings.redis_url.get_secret_value() or settings.cache_keys_file is None:
        return
    from app.adapters.redis.login_provider import PasswordFileError, read_password
    from app.shared_cache.key_ring import KeyRingError, load_key_ring

    try:
        load_key_ring(settings.cache_keys_file)
    except KeyRingError as error:
        yield f"{_variable('cache_keys_file')}: {error}."
    for name in ("redis_password_file", "redis_sentinel_password_file"):
        file: Path | None = getattr(settings, name)
        try:
            if file is not None:
                read_password(file)
        except PasswordFileError as error:
            yield f"{_variable(name)}: {error}."


def _proxy_login(settings: Settings) -> Iterator[str]:
    from app.bootstrap.minting import egress_proxy
    from app.egress import ProxyPasswordError

    proxy = egress_proxy(settings)
    try:
        if proxy is not None:
            proxy.read_login()
    except ProxyPasswordError as error:
        yield f"{error}."


def _tracing(settings: Settings) -> Iterator[str]:
    if settings.tracing == "off":
        return
    try:
        from app.adapters.otlp import SpanExport

        SpanExport.check()
    except ModuleNotFoundError:
        yield "BROKER_TRACING: needs OpenTelemetry (the extra otel): pip install -r requirements/otel.lock."
    except ValueError:
        yield "BROKER_TRACING: an OTEL_ variable has a value that cannot be used."


def start_error(settings: Settings, error: OSError | ValueError) -> Exception:
    """A failed startup as one sentence that names the variable; `error` itself if the variable is unknown."""
    from app.domain.plain_document import PolicyError
    from app.process.certificate_pair import CertificatePairError
    from app.process.regular_file import FileError

    match error:
        case FileError():
            sentence = _file_sentence(settings, error)
        case PolicyError():
            sentence = f"{_variable('policy_file')}: {error}."
        case CertificatePairError():
            sentence = _certificate_sentence(error)
        case socket.gaierror() | UnicodeError():
            sentence = f"{_variable('host')}: must be an address of this machine."
        case OSError(filename=str(filename)):
            names = ", ".join(_named(settings, filename)) or filename
            sentence = f"{names}: cannot be opened: {_reason(error)}."
        case OSError():
            sentence = (
                f"BROKER_HOST, BROKER_PORT: cannot listen on {settings.host} port {settings.port}: {_reason(error)}."
            )
        case _:
            return error
    return CommandError(sentence, USAGE)


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown reason").lower()


def _named(settings: Settings, filename: str) -> Iterator[str]:
    for name, value in settings:
        if isinstance(value, Path) and str(value) == filename:
            yield _variable(name)


def _variable(name: str) -> str:
    return f"BROKER_{name.upper()}"
