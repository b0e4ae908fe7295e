"""The broker's side of TLS to Vault: the CA bundle, and a client certificate that may be renewed in place."""

from __future__ import annotations

import logging
import ssl
from functools import partial
from pathlib import Path

from app.domain.dependency_errors import CredentialStoreError
from app.process.ca_bundle import client_context
from app.process.certificate_pair import CertificatePairError, load_pair

_log = logging.getLogger(__name__)


class ClientTls:
    """Makes a context for each new connection from the current files; used by several threads.

    A renewed pair that cannot be used is logged once, and the last good one stays in use.

    Args:
        cacert: CA bundle; None for the system's.
        files: Certificate chain and private key of the client; None for no client certificate.

    """

    def __init__(self, cacert: Path | None, files: tuple[Path, Path] | None) -> None:
        self._new_context = partial(client_context, cacert)
        self._files = files
        self._last_good: ssl.SSLContext | None = None
        self._refused: str | None = None

    def context(self) -> ssl.SSLContext:
        """The context for a new connection. Reads files in this thread.

        Raises:
            FileError: The CA bundle is unusable.
            CredentialStoreError: The client certificate is unusable, and there was no good one before.

        """
        if self._files is None:
            return self._new_context()
        try:
            self._last_good = load_pair(*self._files, self._new_context).context
        except CertificatePairError as error:
            return self._before(f"BROKER_VAULT_{error.part.upper()}_FILE {error.expected}.")
        self._refused = None
        return self._last_good

    def _before(self, reason: str) -> ssl.SSLContext:
        if self._last_good is None:
            raise CredentialStoreError(reason)
        if reason != self._refused:
            self._refused = reason
            _log.warning("The renewed client certificate for Vault cannot be used, the last one stays: %s", reason)
        return self._last_good
