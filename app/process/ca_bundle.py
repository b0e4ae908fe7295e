"""CA bundles for TLS clients. OpenSSL would open the file itself, and block if it is a named pipe."""

from __future__ import annotations

import ssl
from pathlib import Path

from app.process.regular_file import FileError, read_bytes

MAX_BUNDLE_BYTES = 1024 * 1024


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """A context for TLS clients that verifies certificates and host names. Reads files in this thread.

    Args:
        ca_file: The CA certificates to trust, in PEM form; None to trust the system's.

    Raises:
        FileError: The bundle is unusable.

    """
    if ca_file is None:
        return ssl.create_default_context()
    # Comments may have any bytes, but Python's ssl module takes only ASCII.
    bundle = read_bytes(ca_file, MAX_BUNDLE_BYTES).decode("ascii", errors="replace").replace("\ufffd", "?")
    if not bundle:
        raise FileError(ca_file, "is empty")  # Without data Python would trust the system's CAs.
    try:
        return ssl.create_default_context(cadata=bundle)
    except (ssl.SSLError, ValueError):
        raise FileError(ca_file, "does not hold CA certificates in PEM form") from None
