"""The address of Redis, read from its URL: the settings check it, and the Redis adapter connects to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

Topology = Literal["standalone", "sentinel", "cluster"]

_SCHEMES: Mapping[str, tuple[Topology, bool]] = {
    "redis": ("standalone", False),
    "rediss": ("standalone", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
"""The topology of each scheme, and whether its connections are encrypted."""

_PORTS: Mapping[Topology, int] = {"standalone": 6379, "sentinel": 26379, "cluster": 6379}

MAX_ENDPOINTS = 32
"""All are asked at once, so that their number must have a bound."""

_PRIMARY_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""The characters that Redis allows in the name of a primary (sentinel.c, ``sentinelIsValidName``)."""

_RAW = re.compile(r"[#/?\[\]\\\s]|%(?![0-9A-Fa-f]{2})")
"""What would end the user or password early, or change it. An ``@`` or ``:`` in a password is unambiguous."""


class Endpoint(NamedTuple):
    """Where a server listens.

    Args:
        host: Name or IP address, without brackets.
        port: TCP port.

    """

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Hosts, database and login; the password is never in a repr.

    Args:
        endpoints: The server; or the Sentinels; or nodes of the cluster, from which the others are learned.
        topology: Which of them.
        primary: The name under which Sentinels know the primary; empty without Sentinels.
        database: Number of the database.
        tls: Whether all connections are encrypted.
        has_login: Whether the URL has a place for a user or password, even an empty one.
        user: User name at Redis, or None.
        password: Password at Redis, or None.

    """

    endpoints: tuple[Endpoint, ...]
    topology: Topology = "standalone"
    primary: str = ""
    database: int = 0
    tls: bool = False
    has_login: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_redis_url(url: str) -> RedisAddress:
    """Parse the URL of a server, of Sentinels, or of a cluster; `rediss` instead of `redis` for TLS.

    - ``redis://[user:password@]host[:port][/database]``
    - ``redis+sentinel://[user:password@]host[:port],…/primary[/database]``
    - ``redis+cluster://[user:password@]host[:port],…``

    Raises:
        ValueError: It is anything else. The text is constant: a URL may hold a password.

    """
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES or "://" not in url:
        raise ValueError(
            "must begin with redis:// or rediss://, or with one of redis+sentinel://, rediss+sentinel://,"
            " redis+cluster:// and rediss+cluster://"
        )
    topology, tls = _SCHEMES[scheme]
    login, at, location = rest.rpartition("@")
    if _RAW.search(login):
        raise ValueError(
            "has a character in its user or password that a URL must not have there, such as # / ? or %;"
            " percent-encode it (%23 %2F %3F %25), or give the password in BROKER_REDIS_PASSWORD_FILE instead"
        )
    # Options in the query could switch certificate checks off, so none are taken.
    if "?" in location or "#" in location:
        raise ValueError("must end after the database number: options are not taken from the URL")
    hosts, _, path = location.partition("/")
    user, _, password = login.partition(":")
    primary, database = _path(topology, path)
    return RedisAddress(
        _endpoints(topology, hosts),
        topology,
        primary,
        database,
        tls,
        has_login=bool(at),
        user=unquote(user) or None,
        password=unquote(password) or None,
    )


def _endpoints(topology: Topology, hosts: str) -> tuple[Endpoint, ...]:
    texts = hosts.split(",")
    if topology == "standalone" and len(texts) > 1:
        raise ValueError("names several hosts; begin with redis+sentinel:// or redis+cluster:// (rediss+ with TLS)")
    if len(texts) > MAX_ENDPOINTS:
        raise ValueError("names more than 32 hosts; a few of them are enough")
    try:
        parts = [urlsplit(f"//{text}") for text in texts]
        found = [(part.hostname, part.port) for part in parts]
    except ValueError:
        raise ValueError("has a malformed host, port or database") from None
    if not all(host for host, _ in found):
        raise ValueError("must name a host, such as redis://redis.example.com:6379/0; several have one comma between")
    default = _PORTS[topology]
    return tuple(Endpoint(host or "", default if port is None else port) for host, port in found)


def _path(topology: Topology, path: str) -> tuple[str, int]:
    """The name of the primary, and the number of the database."""
    if topology == "cluster":
        if path:
            raise ValueError("must end after the hosts: a cluster has no database numbers")
        return "", 0
    primary = ""
    if topology == "sentinel":
        primary, _, path = path.partition("/")
        if _PRIMARY_NAME.fullmatch(primary) is None:
            raise ValueError(
                "must have the primary's name at the Sentinels after the hosts, such as"
                " redis+sentinel://a.example.com,b.example.com,c.example.com/mymaster"
            )
    return primary, _database(path)


def _database(text: str) -> int:
    try:
        number = int(text.strip("/") or "0")
    except ValueError:
        raise ValueError("has a malformed host, port or database") from None
    if number < 0:
        raise ValueError("has a negative number of the database")
    return number
