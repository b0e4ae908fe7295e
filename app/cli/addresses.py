"""The URLs of servers that commands start."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.settings.settings import Settings


def scheme_of(settings: Settings) -> str:
    """``https`` if the broker has a certificate, else ``http``."""
    return "http" if settings.tls_cert_file is None else "https"


def url_of(host: str, port: int, scheme: str = "http") -> str:
    """The URL of an address."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
