"""Reads the body of an answer within bounds, whatever the sender makes of it."""

from __future__ import annotations

import zlib

import httpx2

from app.domain.strict_json import strict_json
from app.domain.tenant_errors import BadUpstreamResponseError

MAX_BYTES = 64 * 1024
"""Most bytes of a body, as sent and again as decoded. A token's answer has 2 to 6 kB."""

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


async def read_json(response: httpx2.Response) -> object:
    """Read and decode the JSON body of a streamed answer.

    Raises:
        BadUpstreamResponseError: Too large, compressed in a way we did not ask for, not JSON, or doubtful JSON.
        httpx2.HTTPError: The connection failed meanwhile.

    """
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Loosely: some gateways say text/plain; but a page for people is not an answer to a program.
    if media_type in {"text/html", "application/xhtml+xml"}:
        raise BadUpstreamResponseError("it is an HTML page")
    body = _decoded(await _raw(response), response.headers.get("content-encoding", "identity").strip().lower())
    if not body.strip():
        raise BadUpstreamResponseError("it has no body")
    try:
        return strict_json(body)
    except ValueError as error:
        raise BadUpstreamResponseError(str(error)) from None


async def _raw(response: httpx2.Response) -> bytes:
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 9 or int(declared) > MAX_BYTES):
        raise BadUpstreamResponseError("its body is too large")
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > MAX_BYTES:
            raise BadUpstreamResponseError("its body is too large")
    return bytes(body)


def _decoded(raw: bytes, encoding: str) -> bytes:
    """Undo the encoding. We ask for none, but a proxy on the way may compress all the same."""
    if encoding in {"", "identity"}:
        return raw
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise BadUpstreamResponseError("its body is encoded in a way that was not asked for")
    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        # The bound is given to zlib itself: 64 KiB of gzip can hold 64 MiB.
        body = decoder.decompress(raw, MAX_BYTES + 1)
    except zlib.error:
        raise BadUpstreamResponseError("its compressed body is damaged") from None
    if len(body) > MAX_BYTES:
        raise BadUpstreamResponseError("its body is too large")
    if not decoder.eof:
        raise BadUpstreamResponseError("its compressed body is damaged")
    return body
