"""``serve``: the broker, as it runs in production."""

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

_log = logging.getLogger(__name__)


def serve() -> None:
    """Run the broker. The BROKER_ variables configure it.

    Requires BROKER_POLICY_FILE, and either BROKER_VAULT_ADDR with a login method, or
    BROKER_CREDENTIAL_STORE=directory with BROKER_CREDENTIAL_DIR.

    Shuts down cleanly on SIGTERM or Ctrl-C. The audit log goes to standard output unless BROKER_AUDIT_FILE is set;
    everything else goes to standard error. The README has a table of all variables.
    """
    from app.settings.setting_errors import SettingsError
    from app.settings.settings import read_settings, unread_proxy_variables

    try:
        settings = read_settings()
    except SettingsError as error:
        raise CommandError(f"{str(error).rstrip('.')}.", USAGE) from None
    check_settings(settings)

    import uvloop

    from app import main
    from app.adapters.json_logs import configure_logging

    configure_logging(settings.log_level)
    if settings.proxy_url is None and (unread := unread_proxy_variables()):
        _log.warning(
            "%s is set, but the broker does not read it: the proxy is that of BROKER_PROXY_URL", ", ".join(unread)
        )
    try:
        # Not as a context manager: closing the loop would wait for pending name lookups; see `_leave`.
        asyncio.Runner(loop_factory=uvloop.new_event_loop).run(
            main.serve(settings, partial(_say_started, scheme_of(settings)))
        )
    except (OSError, ValueError) as error:
        raise start_error(settings, error) from None
    _leave()


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
