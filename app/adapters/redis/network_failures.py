"""Why there is no connection to Redis: its address, TLS, certificates, or the network."""

from __future__ import annotations

import socket
import ssl
from typing import Final

from redis import exceptions

from app.adapters.redis.call_failure import Contact, Failure, UnansweredError
from app.adapters.redis.tls_contexts import UnusableTlsFilesError

FAILURES = (exceptions.RedisError, OSError, EOFError, TimeoutError)
"""Everything that redis-py or the network raises when a call fails."""

_NAME_MISMATCH: Final = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_NOT_IN_TIME: Final = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


class SentinelsError(Exception):
    """No Sentinel says where the primary is.

    Args:
        failure: Why.

    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


def _unreachable(detail: str) -> Failure:
    return Failure("unreachable", detail, unreachable=True)


def _tls(detail: str) -> Failure:
    return Failure("tls_failed", detail, unreachable=True)


_ASKS_FOR_CERTIFICATE = _tls(
    "Redis asks for a client certificate; set BROKER_REDIS_CERT_FILE and BROKER_REDIS_KEY_FILE, or set"
    " `tls-auth-clients no` in Redis."
)
_ALERTS: tuple[tuple[tuple[str, ...], Failure], ...] = (
    (("CERTIFICATE_REQUIRED",), _ASKS_FOR_CERTIFICATE),
    (
        ("ALERT_HANDSHAKE_FAILURE",),
        _tls(
            "Redis refuses the TLS handshake: it may ask for a client certificate (BROKER_REDIS_CERT_FILE and"
            " BROKER_REDIS_KEY_FILE), or has no protocol version or cipher in common with the broker."
        ),
    ),
    (
        ("UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE", "ALERT_UNSUPPORTED", "ALERT_DECRYPT"),
        _tls(
            "Redis does not accept the certificate in BROKER_REDIS_CERT_FILE: it has expired, is revoked, or is not of"
            " a CA in Redis' tls-ca-cert-file."
        ),
    ),
    (
        ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"),
        _tls("That port does not serve TLS; BROKER_REDIS_URL must begin with redis://, or name another port."),
    ),
)
"""By parts of OpenSSL's names of errors, in OpenSSL 1.1 and 3."""


def network_failure(error: BaseException, contact: Contact) -> Failure | None:
    """Why there is no connection, or none any more; None if `error` says nothing of it.

    Args:
        error: What redis-py or the network raised.
        contact: What is known of the connection.

    """
    # The built-in TimeoutError is an OSError, so it is asked for first.
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return _too_slow(contact)
    if isinstance(error, exceptions.InvalidResponse):
        return _unreachable("That server does not answer like Redis; check BROKER_REDIS_URL.")
    if not isinstance(error, (exceptions.ConnectionError, OSError, EOFError)):
        return None
    cause = _cause(error)
    match cause:
        case SentinelsError():
            return cause.failure
        case UnusableTlsFilesError():
            return _tls("BROKER_REDIS_CERT_FILE, BROKER_REDIS_KEY_FILE or BROKER_REDIS_CACERT cannot be used.")
        case ssl.SSLCertVerificationError():
            return _untrusted(cause)
        case ssl.SSLError():
            return _alert(cause)
        case socket.gaierror():
            return _unreachable("Redis cannot be reached: the host of BROKER_REDIS_URL is unknown.")
        case ConnectionRefusedError():
            return _unreachable("Redis cannot be reached: nothing listens at the host and port of BROKER_REDIS_URL.")
        case _:
            return _lost(contact, is_unanswered=isinstance(error, UnansweredError))


def _cause(error: BaseException) -> BaseException | None:
    """The error of the network: redis-py raises its own ones while it handles it, or handles one of its own."""
    cause: BaseException | None = error
    while isinstance(cause, exceptions.RedisError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _untrusted(error: ssl.SSLCertVerificationError) -> Failure:
    if error.verify_code in _NAME_MISMATCH:
        return _tls("Redis' certificate is not for the host of BROKER_REDIS_URL.")
    if error.verify_code in _NOT_IN_TIME:
        return _tls("Redis' certificate has expired or is not valid yet, or this clock is wrong.")
    return _tls("Redis' certificate is not trusted; BROKER_REDIS_CACERT must have the CA that issued it.")


def _alert(error: ssl.SSLError) -> Failure:
    reason = error.reason or ""
    for parts, failure in _ALERTS:
        if any(part in reason for part in parts):
            return failure
    return _tls("The TLS handshake with Redis fails.")


def _too_slow(contact: Contact) -> Failure:
    detail = "Redis did not answer in time."
    if contact.tls and not contact.handshaken:
        detail = (
            "The TLS handshake with Redis did not end in time: if that port does not serve TLS, BROKER_REDIS_URL must"
            " begin with redis://, or name another port."
        )
    return Failure("timeout", detail, unreachable=True)


def _lost(contact: Contact, *, is_unanswered: bool) -> Failure:
    if contact.answered and not is_unanswered:
        return _unreachable("Redis cannot be reached, or closed the connection.")
    # With TLS 1.3 a client's certificate is refused after the handshake, and the alert may be lost.
    if contact.handshaken:
        return _tls(
            "Redis closed a new connection after the TLS handshake: it may ask for a client certificate, or refuse the"
            " broker's; check BROKER_REDIS_CERT_FILE and BROKER_REDIS_KEY_FILE."
        )
    if contact.tls:
        return _unreachable("Redis cannot be reached, or closed the connection during the TLS handshake.")
    return _unreachable(
        "Redis cannot be reached, or closed the connection before its first answer: if it serves TLS there,"
        " BROKER_REDIS_URL must begin with rediss://."
    )
