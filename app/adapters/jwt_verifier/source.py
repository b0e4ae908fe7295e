"""Reads an issuer's JWK set: from its pinned URL, or from a file. Nothing a token says has a say in it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from pathlib import Path

from app.adapters.jwt_verifier.issuer_url import IssuerUrl, IssuerUrlError, read_file
from app.adapters.jwt_verifier.keys import KeySet, KeySetError, parse_key_set
from app.domain.identity import Issuer

MAX_BODY_BYTES = 512 * 1024
FETCH_DEADLINE = 5.0
"""Seconds for one fetch from beginning to end: httpx2's own timeouts are per read, and a drip defeats them."""

_OK = 200
_ACCEPT = {"Accept": "application/jwk-set+json, application/json"}


class KeySource:
    """Where one issuer's keys are read.

    Args:
        issuer: Whose.
        executor: Runs what blocks: files, certificates, parsing.

    """

    def __init__(self, issuer: Issuer, executor: Executor) -> None:
        self._issuer = issuer
        self._executor = executor

    @property
    def is_file(self) -> bool:
        """Whether the keys are in a file, which costs little to read."""
        return self._issuer.jwks_file is not None

    async def read(self) -> bytes:
        """Read the set's bytes.

        Raises:
            KeySetError: They cannot be had.

        """
        try:
            if self._issuer.jwks_file is not None:
                path = Path(self._issuer.jwks_file)
                return await asyncio.get_running_loop().run_in_executor(
                    self._executor, read_file, path, MAX_BODY_BYTES, "the JWKS file"
                )
            return await self._download()
        except IssuerUrlError as error:
            raise KeySetError(error.reason) from None

    async def parse(self, body: bytes) -> KeySet:
        """Parse what was read.

        Raises:
            KeySetError: It is not a usable set.

        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, parse_key_set, body)

    async def _download(self) -> bytes:
        issuer = self._issuer
        assert issuer.jwks_url is not None  # noqa: S101  # the policy gives exactly one of the two
        endpoint = IssuerUrl(
            "the JWKS URL", "jwks", issuer.jwks_url, issuer.jwks_ca_file, issuer.jwks_token_file, MAX_BODY_BYTES
        )
        status, body = await endpoint.ask(self._executor, "GET", _ACCEPT)
        if status != _OK:
            raise IssuerUrlError(f"the JWKS URL answers HTTP {status}")
        return body
