"""``dev``: the embedded mode. Broker and sandbox in one process; no Vault, no Redis, no Adobe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from app.cli.failure import USAGE, CommandError
from app.cli.signals import Ending


def dev(
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="The broker's port; 0 takes a free one.")
    ] = 0,
    sandbox_port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="The sandbox's port; 0 takes a free one.")
    ] = 0,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="Folder for keys, documents, policy and audit log; it is kept, and the next run uses it again."
            " Default: a temporary folder that is removed at the end.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the URLs and curl lines as one line of JSON.")] = False,
) -> None:
    """Try the broker on this machine: no Vault, Redis or Adobe account needed.

    Runs a broker with two demo tenants and a local IMS in one process, until Ctrl-C, and prints curl lines to copy.
    """
    ending = Ending()
    from app.cli.embedded import Ports, run_embedded

    try:
        with _folder(directory) as folder:
            ending.interrupts()
            run_embedded(folder, Ports(port, sandbox_port), ending, as_json=as_json, is_kept=directory is not None)
    except KeyboardInterrupt:
        # A signal during startup is a normal end.
        return
    finally:
        ending.is_over()


@contextmanager
def _folder(directory: Path | None) -> Iterator[Path]:
    """The folder to write to, locked against a second run; a temporary one is removed."""
    import tempfile

    if directory is None:
        # Removed at the end, whatever the reason for it.
        with tempfile.TemporaryDirectory(prefix="ims-token-broker-") as made:
            yield Path(made)
        return
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (directory / ".lock").open("a")
    except OSError as error:
        raise CommandError(f"--dir: {directory} cannot be used: {error.strerror}.", USAGE) from None
    import fcntl

    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError(f"--dir: another dev already runs in {directory}.", USAGE) from None
        yield directory.resolve()
