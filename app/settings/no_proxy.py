"""Which hosts are reached without the egress proxy, as ``BROKER_NO_PROXY`` says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

DEFAULT_NO_PROXY = "localhost,127.0.0.0/8,::1,.svc,.cluster.local"

_HOST = re.compile(r"(?![0-9.]+\Z)\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*")


@dataclass(frozen=True, slots=True)
class NoProxy:
    """The hosts that are reached directly. No name is resolved to decide this.

    Args:
        hosts: Names, in lower case.
        suffixes: Ends of names, each with a leading dot.
        networks: Ranges of addresses, for hosts that are given as an address.

    """

    hosts: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def matches(self, host: str) -> bool:
        """Whether a host, without brackets, is reached directly."""
        name = host.lower().rstrip(".")
        try:
            address = ip_address(name)
        except ValueError:
            return name in self.hosts or name.endswith(self.suffixes)
        return any(address in network for network in self.networks)


def parse_no_proxy(text: str) -> NoProxy:
    """Parse hosts, ``.suffix`` and CIDR ranges, separated by commas or blanks. ``*.suffix`` means ``.suffix``.

    Raises:
        ValueError: An item is something else.

    """
    hosts, suffixes, networks = set(), [], []
    for item in filter(None, re.split(r"[,\s]+", text.lower())):
        try:
            networks.append(ip_network(item.strip("[]"), strict=False))
            continue
        except ValueError:
            name = item.removeprefix("*") if item.startswith("*.") else item
        if _HOST.fullmatch(name) is None:
            raise ValueError("must be hosts, .suffixes and CIDR ranges separated by commas, without ports")
        if name.startswith("."):
            suffixes.append(name)
        else:
            hosts.add(name)
    return NoProxy(frozenset(hosts), tuple(suffixes), tuple(networks))
