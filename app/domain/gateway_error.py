"""What Adobe's API gateway answers, and what to do about it (docs/ims.md section 8)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_CODE = re.compile(r"[0-9]{6}")


@dataclass(frozen=True, slots=True)
class GatewayError:
    """An answer of Adobe's gateway that is not a success.

    Args:
        status: The HTTP status.
        code: The gateway's error code of six digits; None if the answer has none.
        cause: What is wrong, for a person.
        remedy: What to do, as a sentence.

    """

    status: int
    code: str | None
    cause: str
    remedy: str


_PERMISSION = (
    "the technical account has no permission for this",
    "Give it a product profile and role of this product in the Adobe Admin Console. A new token does not help.",
)
_LIMIT = ("the usage limit is reached", "Wait, or ask Adobe for a higher limit.")
_KNOWN: Mapping[str, tuple[str, str]] = {
    "403000": ("an API key or org id is missing", "Send x-api-key and x-gw-ims-org-id."),
    "403003": (
        "the API key does not fit the token or org, or its project lacks this API",
        "Send the credential's own client_id as x-api-key, and add the API to its project in Adobe's console.",
    ),
    "403010": ("the token is missing", "Send Authorization: Bearer."),
    "403011": (
        "the token lacks a scope of this API",
        "Add the scope to the document; the next mint has it.",
    ),
    "403020": _PERMISSION,
    "403023": _PERMISSION,
    "403024": _PERMISSION,
    "401013": (
        "the token is not valid: expired, revoked, or of another IMS host",
        "Report it with POST /token/report, which replaces it. If a new one is refused too, check ims_base_url.",
    ),
    "429001": _LIMIT,
    "429002": _LIMIT,
    "429050": ("there were too many requests", "Wait as long as Retry-After says. A new token does not help."),
    "503010": ("the gateway could not validate the token", "Try again in a moment; it is an outage of Adobe."),
}
_BY_STATUS: Mapping[int, tuple[str, str]] = {
    401: ("the token is refused", "Check ims_base_url, and that the host of the URL belongs to the same IMS."),
    403: _PERMISSION,
    404: ("nothing is there", "Check the path of the URL. The token was accepted as far as the gateway looks at it."),
    429: _LIMIT,
}


def explain_gateway(status: int, code: object) -> GatewayError | None:
    """The meaning of an answer; None if it is a success.

    Args:
        status: The HTTP status.
        code: The member ``error_code`` of the answer, unverified.

    """
    if 200 <= status < 300:
        return None
    known = str(code) if _CODE.fullmatch(str(code)) else None
    if known is not None and known in _KNOWN:
        return GatewayError(status, known, *_KNOWN[known])
    if status in _BY_STATUS:
        return GatewayError(status, known, *_BY_STATUS[status])
    if status >= 500:
        return GatewayError(status, known, "the API fails", "Try again later; look at Adobe's status page.")
    return GatewayError(status, known, "the API refuses the request", "Compare the URL with the API's documentation.")
