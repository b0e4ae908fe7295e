"""The brokers that a command speaks to: one, or those of all regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.cli.broker_client import URLS_VARIABLE, BrokerClient, read_api_key, urls_of_all_regions
from app.cli.failure import USAGE, CommandError
from app.domain.names import CredentialRef


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
    """Purge a credential at each broker; a broker that fails does not stop the others.

    Raises:
        CommandError: The API key, a URL or the CA bundle cannot be used: nothing was asked.

    """
    key = read_api_key(api_key_file)
    clients = [(url, BrokerClient(url, key, ca_file)) for url in urls]
    return tuple(_purged(url, client, ref) for url, client in clients)


def _purged(url: str, client: BrokerClient, ref: CredentialRef) -> Purged:
    try:
        client.purge(ref.org, ref.name)
    except CommandError as error:
        return Purged(url, error.format_message())
    return Purged(url)
