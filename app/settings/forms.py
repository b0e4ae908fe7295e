"""The forms that the value of a setting may have. Each raises ValueError with what was expected, never the value."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import SecretStr

from app.hosts import is_loopback, normal_ims_base_url
from app.settings.duration import duration_seconds
from app.settings.no_proxy import parse_no_proxy
from app.settings.redis_address import parse_redis_url

REDIS_PREFIX = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$"
"""The beginning of the name of each key in the shared cache. It cannot be read as another part of the name."""

_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/*")
_BASE_URL = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?/*", re.IGNORECASE)


def _is_base_url(text: str, *, plain_http_anywhere: bool) -> bool:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    bare = _BASE_URL.fullmatch(text) is not None  # urlsplit overlooks an empty query, and blanks in a host
    secure = parts.scheme == "https" or (parts.scheme == "http" and (plain_http_anywhere or is_loopback(host or "")))
    return bool(host) and bare and secure and port != 0


def _is_base_url_with_path(text: str) -> bool:
    """Whether it is a base URL of any host, over HTTPS or plain HTTP, perhaps with a path."""
    scheme, separator, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    bare = _is_base_url(f"{scheme}{separator}{host}", plain_http_anywhere=True)
    return bare and _PATH.fullmatch(slash + path) is not None


def base_urls(text: str) -> str:
    """Base URLs of IMS hosts in their normal form, separated by commas, without spaces."""
    try:
        urls = [normal_ims_base_url(url) for url in text.split(",")]
    except ValueError:
        urls = []
    if not urls or not all(_is_base_url(url, plain_http_anywhere=False) for url in urls):
        raise ValueError("must be base URLs separated by commas: https, or http for loopback only")
    return ",".join(urls)


def vault_addr(text: str) -> str:
    """A base URL, which may have a path, without a final slash."""
    if not _is_base_url_with_path(text):
        raise ValueError("must be a base URL such as https://vault.example.com:8200 or https://example.com/vault")
    return text.rstrip("/")


def kms_endpoint_url(text: str | None) -> str | None:
    """A base URL, plain HTTP for loopback only, without a final slash; or None."""
    if text and not _is_base_url(text, plain_http_anywhere=False):
        raise ValueError("must be https:// and a host, such as a VPC endpoint, or http:// for loopback")
    return text.rstrip("/") if text else None


def redis_url(secret: SecretStr) -> SecretStr:
    """Empty, or an address of Redis."""
    if url := secret.get_secret_value():
        parse_redis_url(url)
    return secret


def token(secret: SecretStr | None) -> SecretStr | None:
    """A token or an id: visible ASCII. Blanks around it, and the line end that `echo` adds, are not part of it."""
    text = None if secret is None else secret.get_secret_value().strip()
    if text is None:
        return None
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be visible ASCII without blanks and line ends in it")
    return SecretStr(text)


def public_url(text: str | None) -> str | None:
    """A base URL, which may have a path, without a final slash; or None."""
    if text and not _is_base_url_with_path(text):
        raise ValueError("must be a base URL such as https://broker.example.com or https://example.com/broker")
    return text.rstrip("/") if text else None


def proxy_url(text: str | None) -> str | None:
    """``http://`` or ``https://``, the host and the port of an HTTP proxy; or None."""
    if not text:
        return None
    if "@" in text:
        raise ValueError("must have no login; set BROKER_PROXY_USERNAME and BROKER_PROXY_PASSWORD_FILE")
    if not _is_base_url(text, plain_http_anywhere=True):
        raise ValueError(
            "must be http:// or https://, then the host and the port of an HTTP proxy, such as"
            " http://proxy.example.com:3128"
        )
    if not urlsplit(text).port:
        raise ValueError("must name the proxy's port, such as http://proxy.example.com:3128")
    return text.rstrip("/")


def no_proxy(text: str) -> str:
    """Hosts that are reached without the proxy."""
    parse_no_proxy(text)
    return text


def duration(text: str) -> str:
    """A number and a unit."""
    duration_seconds(text)
    return text
