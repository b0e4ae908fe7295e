"""TLS contexts for connections to Redis, with a client certificate that may be renewed while the broker runs."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.process.ca_bundle import client_context
from app.process.certificate_pair import CertificatePairError, Pair, contents, digest_of, load_pair
from app.process.own_threads import OwnThreads, ThreadsBusyError, ThreadsClosedError
from app.process.regular_file import FileError

_WAITING = 200
"""Reads that may wait for the thread; more than there can be connections."""

_log = logging.getLogger(__name__)


class UnusableTlsFilesError(Exception):
    """There is no context at present, because the files cannot be used. The text has nothing of them."""


@dataclass(frozen=True, slots=True)
class RedisTls:
    """The files of an encrypted connection.

    Args:
        cacert: The CA certificates to trust (PEM); None for the system's.
        cert_file: The client's certificate chain (PEM); None for no client certificate.
        key_file: Its private key (PEM, not encrypted).

    """

    cacert: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @property
    def pair(self) -> tuple[Path, Path] | None:
        """The client's certificate and key, if there are both."""
        return None if self.cert_file is None or self.key_file is None else (self.cert_file, self.key_file)


class TlsContexts:
    """Has a context for each new connection: the last one, or one with the renewed client certificate.

    The pair of files is read for each new connection; open connections keep theirs. A renewal that cannot be used is
    logged once, and the last good pair stays in use.

    Args:
        files: The files.

    """

    def __init__(self, files: RedisTls) -> None:
        self._new_context = partial(_verifying, files.cacert)
        self._files = files.pair
        self._context: ssl.SSLContext | None = None
        self._pair: Pair | None = None
        self._refused: str | None = None
        self._threads = OwnThreads("redis-certificate", threads=1, waiting=_WAITING)

    async def current(self) -> ssl.SSLContext:
        """The context for a new connection.

        Raises:
            UnusableTlsFilesError: There is none yet, and the files cannot be used.

        """
        if self._context is not None and self._files is None:
            return self._context
        try:
            self._context = await self._threads.run(self._read)
        except (CertificatePairError, FileError) as error:
            return self._last_good(str(error))
        except (ThreadsBusyError, ThreadsClosedError):
            raise UnusableTlsFilesError("not read in time") from None
        self._refused = None
        return self._context

    def close(self) -> None:
        """Let the reading thread end; a read that hangs is not waited for."""
        self._threads.close()

    def _last_good(self, reason: str) -> ssl.SSLContext:
        if self._context is None:
            raise UnusableTlsFilesError(reason) from None
        if reason != self._refused:
            self._refused = reason
            _log.warning("The renewed client certificate for Redis cannot be used, the last one stays: %s.", reason)
        return self._context

    def _read(self) -> ssl.SSLContext:
        """The context for the present content of the files, in the thread."""
        if self._files is None:
            self._context = self._new_context()  # kept, even if no one waits for it any more
            return self._context
        if self._pair is None or self._pair.digest != digest_of(*contents(*self._files)):
            self._pair = load_pair(*self._files, self._new_context)
        return self._pair.context


def _verifying(cacert: Path | None) -> ssl.SSLContext:
    # Certificates are required and host names checked; with a CA bundle, no other CA is trusted.
    context = client_context(cacert)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
