"""``keys rotate`` and ``keys retire``: a new key that seals the cached tokens, and the end of an old one.

A key opens everywhere before it seals anywhere: a replica that does not have it yet could not open what it sealed.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.new_file import replace_file
from app.cli.policy_input import JsonOption

if TYPE_CHECKING:
    from app.domain.events import Event

_File = Annotated[
    Path, typer.Argument(metavar="FILE", envvar="BROKER_CACHE_KEYS_FILE", help="The key ring.", show_default=False)
]


def rotate_keys(
    file: _File,
    activate: Annotated[bool, typer.Option("--activate", help="Let the newest key seal from now on.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add a key that opens; then, when all replicas have it, let it seal with --activate.

    The file is replaced in one step and keeps mode 0600. Replicas read it when they start.
    """
    from app.shared_cache.key_ring_change import with_new_key, with_newest_sealing

    def added(document: bytes) -> str:
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return with_new_key(document, secrets.token_bytes, f"k{secrets.token_hex(4)}", created)

    ids = _change(file, with_newest_sealing if activate else added)
    if as_json:
        typer.echo(json.dumps({"file": str(file), "keys": ids, "sealing": ids[0]}))
    elif activate:
        typer.echo(
            f"{file}: {ids[0]} seals now. Next: restart all replicas, and after the longest life of a token (24 h)"
            f" retire the old key: ims-token-broker keys retire {file} {ids[1]}"
        )
    else:
        typer.echo(
            f"{file}: added {ids[-1]}, which opens but does not seal yet. Next: restart all replicas with this file,"
            f" then ims-token-broker keys rotate {file} --activate"
        )


def retire_key(
    file: _File,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key to take out.", show_default=False)],
    force: Annotated[
        bool, typer.Option("--force", help="Without a look into Redis, or although it is still needed there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take out a key that seals nothing any more.

    With BROKER_REDIS_URL, and a user who may SCAN and GETRANGE, it is refused while a token in Redis is sealed with
    that key: such a token could not be opened, and would be exchanged again.
    """
    from app.shared_cache.key_ring_change import without_key

    sealed = {} if force else _sealed()
    count = sealed.get(key_id, 0)
    if count:
        raise CommandError(
            f"{count} tokens in Redis are sealed with {key_id}. Wait until they have ended (24 hours at most after the"
            " new key seals), or give --force: then each is exchanged once more."
        )
    ids = _change(file, lambda document: without_key(document, key_id))
    if as_json:
        typer.echo(json.dumps({"file": str(file), "retired": key_id, "keys": ids, "sealing": ids[0]}))
    else:
        typer.echo(f"{file}: {key_id} is retired. Next: restart all replicas with this file.")


def _change(file: Path, change: Callable[[bytes], str]) -> tuple[str, ...]:
    """Change the file; the ids that it has then.

    Raises:
        CommandError: It cannot be read (`USAGE`) or changed (`FAILED`), or someone else changed it meanwhile.

    """
    from app.process.regular_file import FileError, read_bytes
    from app.shared_cache.key_ring import MAX_KEY_RING_BYTES, KeyRing, KeyRingError

    try:
        document = read_bytes(file, MAX_KEY_RING_BYTES)
        changed = change(document)
        if read_bytes(file, MAX_KEY_RING_BYTES) != document:
            raise CommandError(f"{file} was changed by someone else meanwhile; nothing was written.", FAILED)
    except FileError as error:
        raise CommandError(f"{error}.", USAGE) from None
    except KeyRingError as error:
        raise CommandError(f"{file}: {error}.", FAILED) from None
    if file.is_symlink():
        raise CommandError(f"{file} is a symbolic link, as in a mounted Secret; change its source.", USAGE)
    replace_file(file, changed)
    return KeyRing.parse(changed.encode()).ids


def _sealed() -> Mapping[str, int]:
    from app.bootstrap.shared_cache import counted_seals
    from app.domain.dependency_errors import CacheUnavailableError
    from app.settings.setting_errors import SettingsError
    from app.settings.settings import read_redis_settings

    try:
        settings = read_redis_settings()
        if not settings.redis_url.get_secret_value():
            raise CommandError(
                "BROKER_REDIS_URL is not set, so it is unknown whether the key is still needed. Set it, or give --force"
                " 24 hours after the new key seals.",
                USAGE,
            )
        return asyncio.run(counted_seals(settings, _Unheard()))
    except SettingsError as error:
        raise CommandError(f"{str(error).rstrip('.')}.", USAGE) from None
    except CacheUnavailableError as error:
        raise CommandError(f"{error.detail} Nothing was changed.", FAILED) from None


class _Unheard:
    """Takes events and drops them: a command says itself what happens."""

    def emit(self, event: Event) -> None:
        """Drop it."""
