"""Verifies AWS Signature Version 4, written from its specification and without the SDK that signs.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from tests.support.http_stand_in import ReceivedRequest

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[A-Z0-9]+)/(?P<day>\d{8})/(?P<region>[a-z0-9-]+)/(?P<service>[a-z]+)"
    r"/aws4_request, ?SignedHeaders=(?P<signed>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_CLOCK_SECONDS = 300
_NEEDED = {"host", "x-amz-date"}


def access_key_of(request: ReceivedRequest) -> str | None:
    """The access key id that a request names, or None if it is not signed."""
    found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    return None if found is None else found["key"]


def sigv4_defect(request: ReceivedRequest, secrets: Mapping[str, str], region: str, service: str) -> str | None:
    """The code of AWS for what is wrong with the signature of a request, or None.

    Args:
        request: The request as received.
        secrets: The secret access key of each access key id.
        region: Region of the server.
        service: Of the server, such as ``kms``.

    """
    found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if found is None:
        return "MissingAuthenticationTokenException"
    signed = found["signed"].split(";")
    date = request.headers.get("x-amz-date", "")
    if not set(signed) >= _NEEDED or not date.startswith(found["day"]):
        return "IncompleteSignatureException"
    at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(at.timestamp() - datetime.now(UTC).timestamp()) > _CLOCK_SECONDS:
        return "InvalidSignatureException"
    if (found["region"], found["service"]) != (region, service):
        return "InvalidSignatureException"
    secret = secrets.get(found["key"])
    if secret is None:
        return "UnrecognizedClientException"
    scope = f"{found['day']}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(_canonical(request, signed)).hexdigest()])
    expected = _signature(secret, (found["day"], region, service), text)
    return None if hmac.compare_digest(expected, found["signature"]) else "InvalidSignatureException"


def _canonical(request: ReceivedRequest, signed: list[str]) -> bytes:
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in signed)
    body = hashlib.sha256(request.body).hexdigest()
    return "\n".join([request.method, request.path, "", headers, ";".join(signed), body]).encode()


def _signature(secret: str, scope: tuple[str, str, str], text: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in (*scope, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
