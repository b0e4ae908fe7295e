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
    HANDSHAKE = "the other side ended the TLS handshake; a firewall or proxy on the way may block it"
    OTHER = "no connection could be opened"


_NETWORK = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL}


def connect_failure(error: BaseException) -> ConnectFailure:
    """Why `error` happened, by the first cause that says so."""
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return ConnectFailure.CERTIFICATE
            case ssl.SSLError():
                return ConnectFailure.HANDSHAKE
            case socket.gaierror():
                return ConnectFailure.NAME
            case ConnectionRefusedError():
                return ConnectFailure.REFUSED
            case ConnectionResetError() | BrokenPipeError() | EOFError():
                return ConnectFailure.HANDSHAKE
            case httpx2.TimeoutException() | TimeoutError():
                return ConnectFailure.TIMEOUT
            case OSError(errno=number) if number in _NETWORK:
                return ConnectFailure.NETWORK
            case _:
                continue
    return ConnectFailure.OTHER


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
