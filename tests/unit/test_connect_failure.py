"""Why no connection could be opened, from the chain of errors that the HTTP client raises."""

from __future__ import annotations

import errno
import socket
import ssl

import httpx2
import pytest

from app.egress import ConnectFailure, connect_failure


def raised_from(cause: Exception, *, context: bool) -> httpx2.ConnectError:
    """A client's error with a cause, or with a context only."""
    error = httpx2.ConnectError("All connection attempts failed")
    error.__cause__ = None if context else OSError("wrapped")
    if context:
        error.__context__ = ExceptionGroup("several addresses", [OSError("one"), cause])
    else:
        assert error.__cause__ is not None
        error.__cause__.__context__ = cause
    return error


ENDED = "the other side ended the TLS handshake; a firewall or proxy on the way may block it"
EXPIRED = "its certificate has expired or is not valid yet, or the clock of this host is wrong"


def unverified(code: int) -> ssl.SSLCertVerificationError:
    """OpenSSL's refusal of a certificate, with its number."""
    error = ssl.SSLCertVerificationError()
    error.verify_code = code
    return error


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (socket.gaierror(-2, "x"), "the name of its host was not found"),
        (ConnectionRefusedError(), "the connection was refused"),
        (TimeoutError(), "no connection could be opened in time; a firewall may drop the packets"),
        (OSError(errno.EHOSTUNREACH, "x"), "there is no route to its network"),
        (unverified(20), "its certificate is not trusted"),
        (unverified(62), "its certificate is for another host"),
        (unverified(64), "its certificate is for another host"),
        (unverified(9), EXPIRED),
        (unverified(10), EXPIRED),
        (
            ssl.SSLError(),
            "the two sides agree on no TLS version or cipher, or the other side asks for a client certificate",
        ),
        (ssl.SSLEOFError(), ENDED),
        (ssl.SSLZeroReturnError(), ENDED),
        (ConnectionResetError(), "the connection was reset; a firewall or proxy on the way may block it"),
        (OSError(5, "x"), "no connection could be opened"),
    ],
)
def test_the_first_cause_that_says_why_is_found(cause: Exception, expected: str, *, context: bool) -> None:
    """The cause is found behind the client's own error, in a chain or in a group."""
    assert connect_failure(raised_from(cause, context=context)).value == expected


def test_a_chain_that_is_a_circle_ends() -> None:
    """Errors that name each other are read once."""
    first, second = OSError("a"), OSError("b")
    first.__context__, second.__context__ = second, first

    assert connect_failure(first) is ConnectFailure.OTHER
