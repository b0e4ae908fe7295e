"""The company's egress proxy: where it is, how to log in, and which hosts are reached without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from app.process.regular_file import FileError, read_bytes
from app.settings.no_proxy import NoProxy

_MAX_PASSWORD_BYTES = 4 * 1024


class ProxyPasswordError(Exception):
    """The file with the password cannot be used; the text names the setting, and nothing of the content."""


@dataclass(frozen=True, slots=True)
class EgressProxy:
    """A proxy that opens tunnels (CONNECT, RFC 9110 section 9.3.6).

    Args:
        url: ``http://host:port`` or ``https://host:port``, without a login.
        username: The user, or None if the proxy asks for no login.
        password_file: The file with the user's password; None without a user.
        no_proxy: The hosts that are reached without the proxy.

    """

    url: str
    username: str | None = None
    password_file: Path | None = field(repr=False, default=None)
    no_proxy: NoProxy = field(default_factory=NoProxy)

    def read_login(self) -> tuple[str, str] | None:
        """User and password, or None. Reads the file in this thread.

        Raises:
            ProxyPasswordError: The file cannot be used.

        """
        if self.username is None or self.password_file is None:
            return None
        try:
            content = read_bytes(self.password_file, _MAX_PASSWORD_BYTES)
        except FileError as error:
            raise ProxyPasswordError(f"BROKER_PROXY_PASSWORD_FILE: {error.reason}") from None
        password = content.decode(errors="replace").rstrip("\r\n")
        if not password:
            raise ProxyPasswordError("BROKER_PROXY_PASSWORD_FILE: is empty")
        return self.username, password
