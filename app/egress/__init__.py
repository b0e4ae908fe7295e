"""Outgoing connections to the internet: directly, or through the company's proxy. Used by several adapters."""

from app.egress.connect_failure import ConnectFailure, connect_failure
from app.egress.proxy import EgressProxy, ProxyPasswordError
from app.egress.transport import outgoing_transport
from app.egress.tunnels import ProxyFailure

__all__ = [
    "ConnectFailure",
    "EgressProxy",
    "ProxyFailure",
    "ProxyPasswordError",
    "connect_failure",
    "outgoing_transport",
]
