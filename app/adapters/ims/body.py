"""Reads the JSON of an answer of IMS."""

from __future__ import annotations

import httpx2

from app.domain.strict_json import strict_json
from app.domain.tenant_errors import BadUpstreamResponseError
from app.egress import bounded_body

MAX_BYTES = 64 * 1024
"""Most bytes of a body. A token's answer has 2 to 6 kB."""


async def read_json(response: httpx2.Response) -> object:
    """Read and decode the JSON body of a streamed answer.

    Raises:
        BadUpstreamResponseError: Too large, compressed in an unknown way, not JSON, or ambiguous JSON.
        httpx2.HTTPError: The connection failed.

    """
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Other types are accepted, because some gateways send text/plain. An HTML page is never an answer for a program.
    if media_type in {"text/html", "application/xhtml+xml"}:
        raise BadUpstreamResponseError("it is an HTML page")
    try:
        body = await bounded_body(response, MAX_BYTES)
        if not body.strip():
            raise BadUpstreamResponseError("it has no body")
        return strict_json(body)
    except ValueError as error:
        raise BadUpstreamResponseError(str(error)) from None
