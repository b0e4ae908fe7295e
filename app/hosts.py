"""Facts about hosts that settings, documents and commands share: what is loopback, and where Adobe IMS is."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

DEFAULT_IMS_BASE_URL = "https://ims-na1.adobelogin.com"

_IPV6_LOOPBACK = IPv6Address("::1")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: ``localhost``, ``::1`` without brackets, or an address of 127.0.0.0/8."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback if isinstance(address, IPv4Address) else address == _IPV6_LOOPBACK
