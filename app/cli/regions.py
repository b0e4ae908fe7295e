"""The brokers that a command speaks to: one, or those of all regions."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from app.cli.broker_client import URLS_VARIABLE, BrokerClient, read_api_key, urls_of_all_regions
from app.cli.failure import USAGE, CommandError
from app.domain.names import CredentialRef

MAX_AT_ONCE = 16
"""Brokers that are asked at the same time."""


@dataclass(frozen=True, slots=True)
class Purged:
    """A purge at one broker.

    Args:
        url: The broker.
        error: Why it failed; None if it was made.

    """

    url: str
    error: str | None = None


def broker_urls(given: Sequence[str], *, everywhere: bool) -> tuple[str, ...]:
    """The brokers that a command line names.

    Args:
        given: The values of ``--url``.
        everywhere: Whether all regions of ITB_URLS are meant.

    Raises:
        CommandError: Both are given, or ITB_URLS is empty.

    """
    if not everywhere:
        return tuple(dict.fromkeys(given))
    urls = urls_of_all_regions()
    if not urls:
        raise CommandError(f"--everywhere needs {URLS_VARIABLE}, the URLs of all regions separated by commas.", USAGE)
    return urls


def purge_at(
    urls: Sequence[str], ref: CredentialRef, api_key_file: Path | None, ca_file: Path | None
) -> tuple[Purged, ...]:
    """Purge a credential at all brokers at once; one that fails, or does not answer, holds up no other.

    Raises:
        CommandError: The API key, a URL or the CA bundle cannot be used: nothing was asked.

    """
    key = read_api_key(api_key_file)
    clients = [(url, BrokerClient(url, key, ca_file)) for url in urls]
    with ThreadPoolExecutor(MAX_AT_ONCE) as pool:
        return tuple(pool.map(lambda asked: _purged(asked[0], asked[1], ref), clients))


def _purged(url: str, client: BrokerClient, ref: CredentialRef) -> Purged:
    try:
        client.purge(ref.org, ref.name)
    except CommandError as error:
        return Purged(url, error.format_message())
    return Purged(url)
