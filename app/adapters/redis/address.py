"""The address of Redis, read from its URL."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Address:
    """Host, database and login; the password is never in a repr."""

    host: str
    port: int = 6379
    database: int = 0
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_address(url: str) -> Address:
    """Parse ``redis://`` or ``rediss://[user:password@]host[:port][/database]``.

    Raises:
        ValueError: It is anything else. The text is constant: a URL may hold a password.

    """
    scheme = url.partition("://")[0].lower()
    if scheme in {"redis+sentinel", "redis+cluster"}:
        raise ValueError(
            "This release supports redis:// and rediss://; redis+sentinel:// and redis+cluster:// come next."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
        database = int(parts.path.strip("/") or "0")
    except ValueError:
        raise ValueError("The Redis URL has a malformed host, port or database.") from None
    if scheme not in {"redis", "rediss"} or not parts.hostname:
        raise ValueError("The Redis URL must be redis://host:port/database, or rediss:// for TLS.")
    # Options in the query could switch certificate checks off, so none are taken.
    if parts.query or parts.fragment or database < 0:
        raise ValueError("The Redis URL must end after the database number: options are not taken from it.")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return Address(parts.hostname, 6379 if port is None else port, database, scheme == "rediss", user, password)
