"""Reads the JWK set of an issuer: from its pinned URL or from a file. A token cannot change where."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from app.adapters.jwt_verifier.issuer_error import IssuerError
from app.adapters.jwt_verifier.issuer_url import IssuerUrl, in_thread, read_file
from app.adapters.jwt_verifier.key_set import KeySet, parse_key_set
from app.domain.identity import Issuer
from app.egress import EgressProxy
from app.process.own_threads import OwnThreads

MAX_BODY_BYTES = 512 * 1024
FETCH_DEADLINE = 5.0
"""Seconds for one whole fetch: the timeouts of httpx2 are per read, so a slow drip defeats them."""

_OK = 200
_ACCEPT = {"Accept": "application/jwk-set+json, application/json"}


class KeySource:
    """The source of one issuer's keys.

    Args:
        issuer: The issuer.
        threads: Run blocking work: files, certificates, parsing.
        proxy: The egress proxy, or None to connect directly.

    """

    def __init__(self, issuer: Issuer, threads: OwnThreads, proxy: EgressProxy | None = None) -> None:
        self._issuer = issuer
        self._threads = threads
        self._proxy = proxy

    @property
    def is_file(self) -> bool:
        """Whether the keys are in a file, which costs little to read."""
        return self._issuer.jwks_file is not None

    async def read(self) -> bytes:
        """Read the set's bytes.

        Raises:
            IssuerError: The URL or the file gave nothing that can be used.

        """
        if self._issuer.jwks_file is not None:
            path = Path(self._issuer.jwks_file)
            return await in_thread(self._threads, partial(read_file, path, MAX_BODY_BYTES, "the JWKS file"))
        return await self._download()

    async def parse(self, body: bytes) -> KeySet:
        """Parse what was read.

        Raises:
            IssuerError: It is not a usable set.

        """
        return await in_thread(self._threads, partial(parse_key_set, body))

    async def _download(self) -> bytes:
        issuer = self._issuer
        assert issuer.jwks_url is not None  # noqa: S101  # the policy gives exactly one of the two
        endpoint = IssuerUrl(
            "the JWKS URL",
            "jwks",
            issuer.jwks_url,
            issuer.jwks_ca_file,
            issuer.jwks_token_file,
            MAX_BODY_BYTES,
            self._proxy,
        )
        status, body = await endpoint.ask(self._threads, "GET", _ACCEPT)
        if status != _OK:
            raise IssuerError(f"the JWKS URL answers HTTP {status}")
        return body
