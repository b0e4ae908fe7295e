"""The address of Redis, read from its URL: the settings check it, and the Redis adapter connects to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

PLAIN, TLS = "redis://", "rediss://"
_NOT_YET = ("redis+sentinel://", "redis+cluster://")

_RAW = re.compile(r"[#/?\[\]\\\s]|%(?![0-9A-Fa-f]{2})")
"""What would end the user or password early, or change it. An ``@`` or ``:`` in a password is unambiguous."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Host, database and login; the password is never in a repr.

    Args:
        host: Name or IP address, without brackets.
        port: TCP port.
        database: Number of the database.
        tls: Whether the connection is encrypted.
        has_login: Whether the URL has a place for a user or password, even an empty one.
        user: User name, or None.
        password: Password, or None.

    """

    host: str
    port: int = 6379
    database: int = 0
    tls: bool = False
    has_login: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_redis_url(url: str) -> RedisAddress:
    """Parse ``redis://`` or ``rediss://[user:password@]host[:port][/database]``.

    Raises:
        ValueError: It is anything else. The text is constant: a URL may hold a password.

    """
    if url.startswith(_NOT_YET):
        raise ValueError("this release supports redis:// and rediss:// only")
    if not url.startswith((PLAIN, TLS)):
        raise ValueError("must begin with redis:// or rediss://")
    login = url.partition("://")[2].rpartition("@")[0]
    if _RAW.search(login):
        raise ValueError(
            "has a character in its user or password that a URL must not have there, such as # / ? or %;"
            " percent-encode it (%23 %2F %3F %25), or give the password in BROKER_REDIS_PASSWORD_FILE instead"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
        database = int(parts.path.strip("/") or "0")
    except ValueError:
        raise ValueError("has a malformed host, port or database") from None
    if not parts.hostname:
        raise ValueError("must name a host, such as redis://redis.example.com:6379/0")
    # Options in the query could switch certificate checks off, so none are taken.
    if parts.query or parts.fragment or database < 0:
        raise ValueError("must end after the database number: options are not taken from the URL")
    return RedisAddress(
        host=parts.hostname,
        port=6379 if port is None else port,
        database=database,
        tls=url.startswith(TLS),
        has_login="@" in parts.netloc,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )
