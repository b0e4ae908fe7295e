"""What proves the application to the broker: an API key, or a JWT such as a projected service-account token."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ims_token_broker_client.errors import BrokerUnavailableError

MAX_KEY_BYTES = 16 * 1024
_VISIBLE = re.compile(r"[!-~]+")


class CallerKey:
    """An API key, or a file that is read for each request because it is replaced while the application runs.

    Args:
        api_key: The key.
        file: The file, if there is no `api_key`.

    Raises:
        ValueError: Both or neither are given, or the key cannot be sent in a header.

    """

    def __init__(self, api_key: str | None, file: str | os.PathLike[str] | None) -> None:
        if (api_key is None) == (file is None):
            raise ValueError("Give either api_key or key_file.")
        if api_key is not None and not _usable(api_key.strip()):
            raise ValueError("api_key is not an API key: it is empty, too long, or has characters that are not ASCII.")
        self._api_key = None if api_key is None else api_key.strip()
        self._file = None if file is None else Path(file)

    def __repr__(self) -> str:
        """Where the key is, never the key."""
        return f"CallerKey({'api_key' if self._file is None else str(self._file)})"

    def read(self) -> str:
        """The key as it is at this moment.

        Raises:
            BrokerUnavailableError: The file cannot be read or has no key; it may be replaced at this moment.

        """
        if self._file is None:
            return self._api_key or ""
        try:
            with self._file.open("rb") as opened:
                key = opened.read(MAX_KEY_BYTES + 1).decode("ascii", errors="replace").strip()
        except OSError as error:
            raise BrokerUnavailableError(f"The key file {self._file} cannot be read: {error.strerror}.") from None
        if not _usable(key):
            raise BrokerUnavailableError(f"The key file {self._file} does not contain an API key or a JWT.")
        return key


def _usable(key: str) -> bool:
    return len(key) <= MAX_KEY_BYTES and _VISIBLE.fullmatch(key) is not None
