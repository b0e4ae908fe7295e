"""A cheap call of an Adobe API: where it may go, and what came back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.domain.dependency_errors import DependencyError
from app.hosts import is_loopback

_ADOBE = ("adobe.io", "adobe.com", "adobelogin.com", "adobeaemcloud.com", "omniture.com", "adobedc.net", "demdex.net")
"""Domains of Adobe. A token is sent nowhere else."""

_HOST = re.compile(r"[a-z0-9.-]+")


class ProbeUnavailableError(DependencyError):
    """The API does not answer."""

    code = "probe_unavailable"


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What an API answered.

    Args:
        status: The HTTP status.
        code: The member ``error_code``, unverified; None without one.

    """

    status: int
    code: object


def may_be_probed(url: str) -> bool:
    """Whether a token may be sent to `url`: to Adobe over HTTPS, or to this machine."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.username or parts.password or parts.fragment or port == 0 or not url.isprintable() or " " in url:
        return False
    if is_loopback(host):
        return parts.scheme in {"http", "https"}
    named = _HOST.fullmatch(host) is not None  # not another host for a client that reads a backslash as a slash
    return named and parts.scheme == "https" and any(host == domain or host.endswith(f".{domain}") for domain in _ADOBE)
