"""Facts about hosts that settings, documents and commands share: what is loopback, and where Adobe IMS is."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

AWS_REGION = r"[a-z]{2,6}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}"
"""The form of an AWS region, such as ``eu-central-1``: a part of the names of its hosts."""

DEFAULT_IMS_BASE_URL = "https://ims-na1.adobelogin.com"

STAGE_IMS_BASE_URL = "https://ims-na1-stg1.adobelogin.com"
"""Where credentials of stage are exchanged (docs/ims.md section 1.1)."""

_IPV6_LOOPBACK = IPv6Address("::1")
_IMS_URL = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?:/+(?:ims(?:/[a-z0-9._-]+)*/*)?)?"
)
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
_DEFAULT_PORTS = {"https": 443, "http": 80}


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: ``localhost``, ``::1`` without brackets, or an address of 127.0.0.0/8."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback if isinstance(address, IPv4Address) else address == _IPV6_LOOPBACK


def is_https_or_loopback(url: str) -> bool:
    """Whether a base URL is HTTPS, or plain HTTP to this machine, and has neither path, query nor user."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    return (
        secure and bool(_HOST.fullmatch(host)) and port != 0 and url.rstrip("/") == f"{parts.scheme}://{parts.netloc}"
    )


def normal_ims_base_url(text: str) -> str:
    """The base URL of an IMS host in the one form that is compared: lower case, no default port, no path.

    AEM's files name a bare host, and others the whole URL of an endpoint, such as ``…/ims/token/v3``
    (docs/ims.md section 4.2).

    Args:
        text: A URL, with or without a path below ``/ims``, or a host with a dot in its name.

    Returns:
        ``https://host`` or ``http://host``, with ``:port`` if it is not the default.

    Raises:
        ValueError: It is anything else. The message does not quote it.

    """
    found = _IMS_URL.fullmatch(text.strip().lower())
    if found is None or (found["scheme"] is None and "." not in found["host"]):
        raise ValueError("must be a base URL such as https://ims.example.com")
    scheme = found["scheme"] or "https"
    port = _DEFAULT_PORTS[scheme] if found["port"] is None else int(found["port"])
    if not 0 < port < 65536:
        raise ValueError("must have a port from 1 to 65535")
    return f"{scheme}://{found['host']}" + ("" if port == _DEFAULT_PORTS[scheme] else f":{port}")
