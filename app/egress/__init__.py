"""Outgoing connections to the internet: directly, or through the company's proxy. Used by several adapters."""

from app.egress.bounded_body import BodyError, bounded_body
from app.egress.bounded_network import HEAD_BYTES, AnswerTooLongError
from app.egress.connect_failure import ConnectFailure, connect_failure
from app.egress.outgoing_client import command_client, outgoing_client
from app.egress.proxy import EgressProxy, ProxyPasswordError
from app.egress.transport import outgoing_transport
from app.egress.tunnels import ProxyFailure, proxy_refusal, proxy_unusable

__all__ = [
    "HEAD_BYTES",
    "AnswerTooLongError",
    "BodyError",
    "ConnectFailure",
    "EgressProxy",
    "ProxyFailure",
    "ProxyPasswordError",
    "bounded_body",
    "command_client",
    "connect_failure",
    "outgoing_client",
    "outgoing_transport",
    "proxy_refusal",
    "proxy_unusable",
]
