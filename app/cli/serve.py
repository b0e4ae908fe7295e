"""``serve``: the broker, as it runs in production."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.cli.addresses import scheme_of, url_of
from app.cli.failure import USAGE, CommandError
from app.cli.preflight import check_settings, start_error

if TYPE_CHECKING:
    from app.bootstrap.workers import WorkerPlace
    from app.settings.settings import Settings

_log = logging.getLogger(__name__)


def serve(
    workers: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", min=1, max=64, help="Worker processes that share the port; as BROKER_WORKERS."),
    ] = None,
) -> None:
    """Run the broker. The BROKER_ variables configure it.

    Requires BROKER_POLICY_FILE, and either BROKER_VAULT_ADDR with a login method, or
    BROKER_CREDENTIAL_STORE=directory with BROKER_CREDENTIAL_DIR.

    Shuts down cleanly on SIGTERM or Ctrl-C. The audit log goes to standard output unless BROKER_AUDIT_FILE is set;
    everything else goes to standard error. The README has a table of all variables.
    """
    from app.process.full_collections import importing

    with importing():
        settings = _settings({} if workers is None else {"BROKER_WORKERS": str(workers)})

        from app import main
        from app.adapters.json_logs import configure_logging
        from app.bootstrap.workers import THE_ONLY_ONE
        from app.process.name_lookups import Loop
        from app.settings.settings import unread_proxy_variables

    say_started = partial(_say_started, scheme_of(settings))
    place = THE_ONLY_ONE if settings.workers == 1 else _worker(settings, say_started)
    configure_logging(settings.log_level, place.log_lock)
    if settings.proxy_url is None and (unread := unread_proxy_variables()):
        _log.warning(
            "%s is set, but the broker does not read it: the proxy is that of BROKER_PROXY_URL", ", ".join(unread)
        )

    def started(host: str, port: int) -> None:
        place.ready()
        if place.workers == 1:
            say_started(host, port)

    try:
        # Not as a context manager: closing the loop would wait for pending name lookups; see `_leave`.
        asyncio.Runner(loop_factory=Loop).run(main.serve(settings, started, place))
    except (OSError, ValueError) as error:
        raise start_error(settings, error) from None
    _leave()


def _settings(options: Mapping[str, str]) -> Settings:
    """The settings, checked. From then on nothing else on the machine may read the memory of this process."""
    from app.process.private_memory import keep_memory_private
    from app.settings.setting_errors import SettingsError
    from app.settings.settings import read_settings

    try:
        settings = read_settings(options=options)
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from None
    check_settings(settings)
    keep_memory_private()
    return settings


def _worker(settings: Settings, say_started: Callable[[str, int], None]) -> WorkerPlace:
    """Fork the workers. It returns in each of them; the parent exits when all of them have exited."""
    from app import main
    from app.bootstrap.workers import WorkerPlace, forked

    try:
        reserved = main.reserved_socket(settings.host, settings.port)
    except OSError as error:
        raise start_error(settings, error) from None
    host, port = reserved.getsockname()[:2]
    place = forked(settings.workers, port, main.END_SECONDS, lambda: say_started(host, port))
    if isinstance(place, WorkerPlace):
        return place
    raise typer.Exit(place)


def _leave() -> NoReturn:
    """End the process at once. All work is done; only threads that are no longer needed still run.

    The interpreter would wait for each of them without a deadline, such as one that reads a file on a volume that
    hangs, or one that asks a name server that does not answer. Kubernetes would then have to kill the pod.
    """
    logging.shutdown()  # The handler has its own deadline.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


def _say_started(scheme: str, host: str, port: int) -> None:
    typer.echo(f"listening on {url_of(host, port, scheme)}", err=True)
