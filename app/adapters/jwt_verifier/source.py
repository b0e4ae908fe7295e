"""Reads an issuer's JWK set: from its pinned URL, or from a file. Nothing a token says has a say in it."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import stat
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

import httpx2

from app.adapters.jwt_verifier.keys import KeySet, KeySetError, parse_key_set
from app.domain.caller import Issuer

MAX_BODY_BYTES = 512 * 1024
FETCH_DEADLINE = 5.0
"""Seconds for one fetch from beginning to end: httpx2's own timeouts are per read, and a drip defeats them."""

_MAX_TOKEN_BYTES = 16 * 1024
_TOKEN = re.compile(rb"[\x21-\x7e]+")
_TIMEOUT = httpx2.Timeout(FETCH_DEADLINE, connect=2.0)
_LIMITS = httpx2.Limits(max_connections=1, max_keepalive_connections=0)

_T = TypeVar("_T")


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
        if self._issuer.jwks_file is not None:
            path = Path(self._issuer.jwks_file)
            return await self._in_thread(lambda: _read_file(path, MAX_BODY_BYTES, "the JWKS file"))
        assert self._issuer.jwks_url is not None  # noqa: S101  # the policy gives exactly one of the two
        return await self._download(self._issuer.jwks_url)

    async def parse(self, body: bytes) -> KeySet:
        """Parse what was read.

        Raises:
            KeySetError: It is not a usable set.

        """
        return await self._in_thread(lambda: parse_key_set(body))

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _download(self, url: str) -> bytes:
        # Made anew each time: the CA and the token are files that Kubernetes rotates, and 300 s lie in between.
        context, headers = await self._in_thread(self._prepare)
        try:
            async with (
                httpx2.AsyncClient(
                    verify=context, trust_env=False, follow_redirects=False, timeout=_TIMEOUT, limits=_LIMITS
                ) as client,
                client.stream("GET", url, headers=headers) as response,
            ):
                return await _body(response)
        except httpx2.TimeoutException:
            raise KeySetError("the JWKS URL does not answer in time") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, OSError):
            raise KeySetError("the JWKS URL cannot be reached") from None

    def _prepare(self) -> tuple[ssl.SSLContext, dict[str, str]]:
        headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
        if self._issuer.jwks_token_file is not None:
            token = _read_file(Path(self._issuer.jwks_token_file), _MAX_TOKEN_BYTES, "jwks_token_file").strip()
            if _TOKEN.fullmatch(token) is None:
                raise KeySetError("jwks_token_file does not hold one token")
            headers["Authorization"] = f"Bearer {token.decode()}"
        return self._tls(), headers

    def _tls(self) -> ssl.SSLContext:
        if self._issuer.jwks_url is not None and self._issuer.jwks_url.lower().startswith("http:"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # Not used; it trusts nobody, and costs nothing to make.
        try:
            return ssl.create_default_context(cafile=self._issuer.jwks_ca_file)
        except (OSError, ValueError):
            raise KeySetError("jwks_ca_file cannot be read") from None


async def _body(response: httpx2.Response) -> bytes:
    if response.status_code != httpx2.codes.OK:
        raise KeySetError(f"the JWKS URL answers HTTP {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise KeySetError(
            "the JWKS URL answers compressed"
        )  # It was asked not to; a small bomb unpacks to a large one.
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise KeySetError(f"the JWK set is larger than {MAX_BODY_BYTES // 1024} KiB")
    return bytes(body)


def _read_file(path: Path, limit: int, what: str) -> bytes:
    try:
        # Opening a named pipe would wait for a writer, for ever; this flag changes nothing for a file.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor has no path to open
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise KeySetError(f"{what} is not a regular file")
            content = file.read(limit + 1)
    except (OSError, ValueError):
        raise KeySetError(f"{what} cannot be read") from None
    if len(content) > limit:
        raise KeySetError(f"{what} is larger than {limit // 1024} KiB")
    return content
