"""A limit on refused credentials per address: guessing stays slow, and forged JWTs cannot use up the CPU."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from app.domain.errors import SourceLimitedError
from app.domain.rate_limit import RateLimit, TokenBucket

MAX_SOURCES = 10_000
"""Addresses with refused credentials that are remembered; the one that has not failed for longest is forgotten."""

REFUSALS_OF_A_SOURCE = RateLimit(1000, 10.0)
"""Refused credentials per address and replica: 1,000 at once, then 100 per second. Many callers may share one."""

_IPV6_NETWORK_BITS = 64


class FailingSources:
    """Counts refused credentials by the address of the connection's other end.

    A header such as X-Forwarded-For is not read, because anyone can write it.

    Args:
        limit: The limit for one address.
        sources: The number of addresses that are remembered.

    """

    def __init__(self, limit: RateLimit = REFUSALS_OF_A_SOURCE, sources: int = MAX_SOURCES) -> None:
        self._limit = limit
        self._sources = sources
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def check(self, address: str, now: float) -> None:
        """Refuse an address that had too many credentials refused.

        Args:
            address: The IP address.
            now: Unix time in seconds.

        Raises:
            SourceLimitedError: It is over its limit.

        """
        if not self._buckets:
            return
        bucket = self._buckets.get(_network_of(address))
        wait = 0.0 if bucket is None else bucket.wait(now)
        if wait > 0:
            raise SourceLimitedError(wait)

    def count(self, address: str, now: float) -> None:
        """Count a refused credential. Arguments as `check`."""
        network = _network_of(address)
        bucket = self._buckets.get(network)
        if bucket is None:
            if len(self._buckets) >= self._sources:
                self._buckets.popitem(last=False)
            bucket = self._buckets[network] = TokenBucket(self._limit)
        self._buckets.move_to_end(network)
        bucket.take(now)


def _network_of(address: str) -> str:
    """What one client has: an IPv4 address, or a network of 2^64 IPv6 addresses."""
    if ":" not in address:
        return address  # IPv4, or none. Parsing it would take longer than the rest of a refusal.
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> _IPV6_NETWORK_BITS << _IPV6_NETWORK_BITS, _IPV6_NETWORK_BITS)))
