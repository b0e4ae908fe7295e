"""Reads the body of an answer within a bound, whatever the sender makes of it."""

from __future__ import annotations

import zlib

import httpx2

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


class BodyError(ValueError):
    """A body cannot be used. Its text says why, as in "its body is too large"."""


async def bounded_body(response: httpx2.Response, limit: int) -> bytes:
    """The decoded body of a streamed answer.

    Args:
        response: The answer, opened with `stream`.
        limit: The most bytes, as sent and again as decoded.

    Raises:
        BodyError: It is too large, damaged, or encoded in an unknown way.
        httpx2.HTTPError: The connection failed.

    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    return _decoded(await _sent(response, limit), encoding, limit)


async def _sent(response: httpx2.Response, limit: int) -> bytes:
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 9 or int(declared) > limit):
        raise BodyError("its body is too large")
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > limit:
            raise BodyError("its body is too large")
    return bytes(body)


def _decoded(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo the encoding. The broker asks for none, but a proxy or a CDN may compress all the same."""
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise BodyError("its body is encoded in a way that was not asked for")
    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        # zlib gets the limit, because 64 KiB of gzip can hold 64 MiB.
        decoded = decoder.decompress(body, limit + 1)
    except zlib.error:
        raise BodyError("its compressed body is damaged") from None
    if len(decoded) > limit:
        raise BodyError("its body is too large")
    if not decoder.eof or decoder.unused_data:
        raise BodyError("its compressed body is damaged")
    return decoded
