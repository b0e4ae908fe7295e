"""``keys rotate`` and ``keys retire``: a new key that encrypts the cached tokens, and the end of an old one.

A key decrypts everywhere before it encrypts anywhere: a replica that lacks it cannot decrypt what it encrypted.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.new_file import change_file
from app.cli.policy_input import JsonOption
from app.domain.amount import amount

if TYPE_CHECKING:
    from app.domain.events import Event

_File = Annotated[
    Path, typer.Argument(metavar="FILE", envvar="BROKER_CACHE_KEYS_FILE", help="The key ring.", show_default=False)
]


def rotate_keys(
    file: _File,
    activate: Annotated[bool, typer.Option("--activate", help="Encrypt with the newest key from now on.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add a key that decrypts; when all replicas have it, make it the key that encrypts with --activate.

    --activate chooses the key that was made last. If that one encrypts already, nothing changes.
    The file is replaced in one step. It keeps its mode and group if the mode is at most 0640; a wider one becomes 0600.
    Replicas read the changed file within seconds.
    """
    from app.shared_cache.key_ring_change import with_new_key, with_newest_sealing

    def added(document: bytes) -> str:
        return with_new_key(document, secrets.token_bytes, f"k{secrets.token_hex(4)}", time.time())

    changed = _change(file, with_newest_sealing if activate else added)
    ids = changed.ids
    if as_json:
        typer.echo(json.dumps({"file": str(file), "mode": changed.mode, "keys": ids, "sealing": ids[0]}))
    elif not changed.is_new:
        typer.echo(
            f"{file} ({changed.mode}): {ids[0]} is the newest key and encrypts already; nothing was changed. When all"
            f" replicas have this file, retire the old key: ims-token-broker keys retire {file} {ids[1]}"
        )
    elif activate:
        typer.echo(
            f"{file} ({changed.mode}): {ids[0]} encrypts now. Next: give all replicas this file, which then encrypt"
            f" their cached tokens with it. Then retire the old key: ims-token-broker keys retire {file} {ids[1]}"
        )
    else:
        typer.echo(
            f"{file} ({changed.mode}): added {ids[-1]}, which decrypts but does not encrypt yet. Next: give all"
            " replicas this file, and wait until each has logged that it is in force. Then:"
            f" ims-token-broker keys rotate {file} --activate"
        )


def retire_key(
    file: _File,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key to remove.", show_default=False)],
    force: Annotated[
        bool, typer.Option("--force", help="Do not check whether tokens in Redis still need the key.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove a key that no longer encrypts anything.

    Refuses while a token in Redis is encrypted with that key, because the token would have to be exchanged again. Needs
    BROKER_REDIS_URL with a user who may SCAN and GETRANGE.
    """
    from app.shared_cache.key_ring_change import without_key

    sealed = {} if force else _sealed()
    count = sealed.get(key_id, 0)
    if count:
        raise CommandError(
            f"{amount(count, 'token in Redis is', 'tokens in Redis are')} encrypted with {key_id}. Replicas encrypt"
            " those that they use again, with the new key; the others end at most 24 hours after it encrypts. Wait, or"
            " give --force: then each is exchanged once more."
        )
    changed = _change(file, lambda document: without_key(document, key_id))
    if as_json:
        body = {"file": str(file), "mode": changed.mode, "retired": key_id, "keys": changed.ids}
        typer.echo(json.dumps({**body, "sealing": changed.ids[0]}))
    else:
        typer.echo(f"{file} ({changed.mode}): {key_id} is retired. Next: give all replicas this file.")


class _Changed(NamedTuple):
    """The file after a change: the ids of its keys, its mode in octal digits, and whether its content is another."""

    ids: tuple[str, ...]
    mode: str
    is_new: bool


def _change(file: Path, change: Callable[[bytes], str]) -> _Changed:
    """Change the file.

    Raises:
        CommandError: It cannot be read (`USAGE`) or changed (`FAILED`), or someone else changed it meanwhile.

    """
    from app.process.regular_file import FileError, read_bytes
    from app.shared_cache.key_ring import MAX_KEY_RING_BYTES, KeyRing, KeyRingError

    try:
        document = read_bytes(file, MAX_KEY_RING_BYTES)
        changed = change(document)
        if read_bytes(file, MAX_KEY_RING_BYTES) != document:
            raise CommandError(f"{file} was changed by someone else in the meantime; nothing was written.", FAILED)
    except FileError as error:
        raise CommandError(f"{error}.", USAGE) from None
    except KeyRingError as error:
        raise CommandError(f"{file}: {error}.", FAILED) from None
    if file.is_symlink():
        raise CommandError(f"{file} is a symbolic link, as in a mounted Secret; change its source.", USAGE)
    is_new = changed.encode() != document
    mode = change_file(file, changed) if is_new else stat.S_IMODE(file.stat().st_mode)
    return _Changed(KeyRing.parse(changed.encode()).ids, f"{mode:04o}", is_new)


def _sealed() -> Mapping[str, int]:
    from app.bootstrap.redis_client import counted_seals
    from app.domain.dependency_errors import CacheUnavailableError
    from app.settings.setting_errors import SettingsError
    from app.settings.settings import read_redis_settings

    try:
        settings = read_redis_settings()
        if not settings.redis_url.get_secret_value():
            raise CommandError(
                "BROKER_REDIS_URL is not set, so it is unknown whether the key is still needed. Set it, or give --force"
                " 24 hours after the new key encrypts.",
                USAGE,
            )
        return asyncio.run(counted_seals(settings, _Unheard()))
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from None
    except CacheUnavailableError as error:
        raise CommandError(f"{error.detail} Nothing was changed.", FAILED) from None


class _Unheard:
    """Takes events and drops them: a command says itself what happens."""

    def emit(self, event: Event) -> None:
        """Drop it."""
