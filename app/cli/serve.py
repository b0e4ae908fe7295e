"""``serve``: the broker itself, as it runs in production."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from functools import partial
from typing import NoReturn

import typer

from app.cli.addresses import scheme_of, url_of
from app.cli.failure import USAGE, CommandError
from app.cli.preflight import check_settings, start_error


def serve() -> None:
    """Run the broker, as the BROKER_ variables say.

    Requires BROKER_POLICY_FILE, and either BROKER_VAULT_ADDR with a way to log in, or
    BROKER_CREDENTIAL_STORE=directory with BROKER_CREDENTIAL_DIR.

    Ends cleanly at SIGTERM or Ctrl-C. The audit log goes to standard output unless BROKER_AUDIT_FILE is set;
    everything else to standard error. The README has a table of all variables.
    """
    from app.settings import SettingsError, read_settings

    try:
        settings = read_settings()
    except SettingsError as error:
        raise CommandError(f"{str(error).rstrip('.')}.", USAGE) from None
    check_settings(settings)

    import uvloop

    from app import main
    from app.adapters.json_logs import configure_logging

    configure_logging(settings.log_level)
    try:
        # Not as a context manager: closing the loop would wait for pending name lookups; see `_leave`.
        asyncio.Runner(loop_factory=uvloop.new_event_loop).run(
            main.serve(settings, partial(_say_started, scheme_of(settings)))
        )
    except (OSError, ValueError) as error:
        raise start_error(settings, error) from None
    _leave()


def _leave() -> NoReturn:
    """End the process at once, now that all work is done. Only threads that no one needs are left.

    The interpreter would wait for each of them without a deadline, such as for a file on a volume that hangs or for
    a name server that does not answer. Kubernetes would then have to kill the pod.
    """
    logging.shutdown()  # The handler's own deadline bounds it.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


def _say_started(scheme: str, host: str, port: int) -> None:
    typer.echo(f"listening on {url_of(host, port, scheme)}", err=True)


def scheme_of(settings: Settings) -> str:
    """``https`` where the broker has a certificate, else ``http``."""
    return "http" if settings.tls_cert_file is None else "https"


def url_of(host: str, port: int, scheme: str = "http") -> str:
    """The URL of an address."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def check_settings(settings: Settings) -> None:
    """Find early what would otherwise fail late, or without its variable's name.

    Raises:
        CommandError: A CA bundle, the certificate, the credential directory, tracing or Redis cannot be used.

    """
    _check_ca_bundles(settings)
    if settings.credential_dir is not None and not settings.credential_dir.is_dir():
        raise CommandError(f"{_variable('credential_dir')}: is not a directory that can be read.", USAGE)
    if settings.tracing != "off":
        _check_tracing()
    _check_certificate(settings)
    _check_redis(settings)


def _check_ca_bundles(settings: Settings) -> None:
    from app.process.ca_bundle import client_context
    from app.process.regular_file import FileError

    for file in (settings.vault_cacert, settings.redis_cacert, settings.ims_cacert):
        try:
            if file is not None:
                client_context(file)
        except FileError as error:
            raise start_error(settings, error) from None


def _check_certificate(settings: Settings) -> None:
    from app.adapters.server_certificate import ServerCertificateError, check_server_certificate

    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return
    try:
        check_server_certificate(settings.tls_cert_file, settings.tls_key_file)
    except ServerCertificateError as error:
        raise _certificate_error(error) from None


def _certificate_error(error: ServerCertificateError) -> CommandError:
    return CommandError(f"{_variable(f'tls_{error.part}_file')}: {error.expected}.", USAGE)


def _check_redis(settings: Settings) -> None:
    from app.adapters.redis.address import parse_address
    from app.adapters.redis.key_ring import KeyRingError, load_key_ring
    from app.adapters.redis.login import PasswordFileError, read_password

    redis_url = settings.redis_url.get_secret_value()
    if not redis_url or settings.cache_keys_file is None:
        return
    try:
        parse_address(redis_url)
        load_key_ring(settings.cache_keys_file)
        if settings.redis_password_file is not None:
            read_password(settings.redis_password_file)
    except PasswordFileError as error:
        raise CommandError(f"{_variable('redis_password_file')}: {error}.", USAGE) from None
    except KeyRingError as error:
        raise CommandError(f"{_variable('cache_keys_file')}: {error}.", USAGE) from None
    except ValueError as error:
        raise CommandError(f"{_variable('redis_url')}: {error}", USAGE) from None


def _check_tracing() -> None:
    try:
        from app.adapters.otlp import SpanExport

        SpanExport.check()
    except ModuleNotFoundError:
        sentence = "BROKER_TRACING: needs OpenTelemetry (the extra otel): pip install -r requirements/otel.lock."
        raise CommandError(sentence, USAGE) from None
    except ValueError:
        raise CommandError("BROKER_TRACING: an OTEL_ variable has a value that cannot be used.", USAGE) from None


def start_error(settings: Settings, error: OSError | ValueError) -> Exception:
    """What went wrong at the start as one sentence that names the variable; `error` itself where that is unknown."""
    from app.adapters.server_certificate import ServerCertificateError
    from app.domain.plain_document import PolicyError
    from app.process.regular_file import FileError

    match error:
        case FileError():
            sentence = f"{', '.join(_named(settings, str(error.path))) or error.path}: {error.reason}."
        case PolicyError():
            sentence = f"{_variable('policy_file')}: {error}."
        case ServerCertificateError():
            return _certificate_error(error)
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
