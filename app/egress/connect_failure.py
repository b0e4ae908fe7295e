"""Why no connection could be opened, told from the chain of errors that the HTTP client raises."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from enum import Enum

import httpx2


class ConnectFailure(Enum):
    """Why no connection could be opened; the value is the end of a sentence."""

    NAME = "the name of its host was not found"
    REFUSED = "the connection was refused"
    TIMEOUT = "no connection could be opened in time; a firewall may drop the packets"
    NETWORK = "there is no route to its network"
    CERTIFICATE = "its certificate is not trusted"
    CERTIFICATE_HOST = "its certificate is for another host"
    CERTIFICATE_TIME = "its certificate has expired or is not valid yet, or the clock of this host is wrong"
    NOT_TLS = "that port does not serve TLS"
    HANDSHAKE = "the two sides agree on no TLS version or cipher, or the other side asks for a client certificate"
    ENDED = "the other side ended the TLS handshake; a firewall or proxy on the way may block it"
    RESET = "the connection was reset; a firewall or proxy on the way may block it"
    OTHER = "no connection could be opened"


_HOST_CODES = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_TIME_CODES = {9, 10}  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
"""Parts of OpenSSL's names of errors, in OpenSSL 1.1 and 3."""

_NETWORK = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL}


def connect_failure(error: BaseException) -> ConnectFailure:
    """Why `error` happened, by the first cause that says so."""
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return _untrusted(cause)
            case ssl.SSLError():
                return _handshake(cause)
            case socket.gaierror():
                return ConnectFailure.NAME
            case ConnectionRefusedError():
                return ConnectFailure.REFUSED
            case ConnectionResetError() | BrokenPipeError():
                return ConnectFailure.RESET
            case EOFError():
                return ConnectFailure.ENDED
            case httpx2.TimeoutException() | TimeoutError():
                return ConnectFailure.TIMEOUT
            case OSError(errno=number) if number in _NETWORK:
                return ConnectFailure.NETWORK
            case _:
                continue
    return ConnectFailure.OTHER


def _untrusted(error: ssl.SSLCertVerificationError) -> ConnectFailure:
    code = getattr(error, "verify_code", None)
    if code in _HOST_CODES:
        return ConnectFailure.CERTIFICATE_HOST
    return ConnectFailure.CERTIFICATE_TIME if code in _TIME_CODES else ConnectFailure.CERTIFICATE


def _handshake(error: ssl.SSLError) -> ConnectFailure:
    reason = getattr(error, "reason", None) or ""
    # Python 3.11.2, that of Debian 12, raises the second one.
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or "UNEXPECTED_EOF" in reason:
        return ConnectFailure.ENDED
    return ConnectFailure.NOT_TLS if any(part in reason for part in _NOT_TLS) else ConnectFailure.HANDSHAKE


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and the members of groups, outermost first."""
    waiting, seen = [error], set[int]()
    while waiting:
        present = waiting.pop(0)
        if id(present) in seen:
            continue
        seen.add(id(present))
        yield present
        if isinstance(present, BaseExceptionGroup):
            waiting.extend(present.exceptions)
        waiting.extend(one for one in (present.__cause__, present.__context__) if one is not None)
